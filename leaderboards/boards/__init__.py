"""Leaderboards of runs on tables: one page for each dataset and device, and their index."""
