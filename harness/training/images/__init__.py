"""Image datasets: find, read, check, split, augment and batch them. Code in their files is never executed."""
