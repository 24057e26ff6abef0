"""Leaderboards for runs on tables: one page per dataset and device, and an index."""
