"""Study files and their runs. `budgetnas run NAME` accepts the names of the study files (*.toml) in this folder."""
