"""Study files that come with the project: `budgetnas run default` takes one by name."""
