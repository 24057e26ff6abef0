"""The benchmark tables: where they live, how they are read, checked, downloaded and made."""
