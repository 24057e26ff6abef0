"""Pages for runs whose searches trained networks."""
