"""Files of others: downloaded, checked, read without executing anything, and converted."""
