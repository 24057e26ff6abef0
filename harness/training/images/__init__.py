"""Sets of images: found, read, checked, split, augmented and batched. Nothing in their files is ever executed."""
