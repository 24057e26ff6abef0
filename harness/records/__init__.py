"""Identities and records of trials, and the run folder that stores them."""
