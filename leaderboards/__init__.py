"""Records in, pages out. This room imports no other room."""
