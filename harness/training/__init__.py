"""Training: images, recipes, and the loops that make accuracies. What trains imports torch; the rest of this room never does."""
