"""The subcommands of `budgetnas`, one file per command or group. Heavy imports stay inside functions, so that `--help` is fast."""
