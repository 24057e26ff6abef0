"""Turns records into pages. This package imports no other package of the project."""
