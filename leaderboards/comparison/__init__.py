"""The page that compares queried with retrained accuracy."""
