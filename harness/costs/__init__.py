"""Costs of architectures: columns over a space, limits, the exact optimum, and single queries."""
