"""Statistics, tables and drawing that all pages share."""
