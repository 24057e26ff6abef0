"""Identities and records of trials, and the folder that keeps them."""
