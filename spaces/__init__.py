"""Search spaces, their networks, and the tables of known accuracies and costs. This package imports no other package of the project."""
