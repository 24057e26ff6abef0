"""Pages of runs whose searches trained networks."""
