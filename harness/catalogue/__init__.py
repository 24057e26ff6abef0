"""Finds methods and explains their settings."""
