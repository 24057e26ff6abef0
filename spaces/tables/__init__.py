"""The benchmark tables: their files, and how they are read, checked, downloaded and built."""
