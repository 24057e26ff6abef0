"""Retrains what a run found, to compare queried with retrained accuracy."""
