"""The costs of a space's architectures: columns, limits, the exact optimum, and single queries."""
