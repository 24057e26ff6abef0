"""Finds methods and describes their settings."""
