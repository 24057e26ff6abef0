"""Runs searches and keeps what they did."""
