"""The searches, one file a method. A method imports only `budgetnas.harness.problem` and `budgetnas.spaces.space`."""
