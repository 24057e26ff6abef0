"""The search methods, one per file. A method imports only `budgetnas.harness.problem` and `budgetnas.spaces.space`."""
