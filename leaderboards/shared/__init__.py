"""Statistics, tables and drawing for all pages."""
