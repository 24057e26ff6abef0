"""Retrains the networks that a run found, to compare queried and retrained accuracies."""
