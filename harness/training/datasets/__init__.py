"""One file for each form in which images come: read and checked, nothing in it ever run."""
