"""Runs trials in parallel processes, and users' methods in confined ones."""
