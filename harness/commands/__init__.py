"""The subcommands of `budgetnas`, one file a group; heavy imports stay inside the functions so that `--help` is quick."""
