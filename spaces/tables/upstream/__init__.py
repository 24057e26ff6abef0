"""Files of other projects: downloaded, checked, read without executing anything, and converted into tables."""
