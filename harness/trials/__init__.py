"""Runs trials: one at a time in a process, many side by side, and users' methods confined."""
