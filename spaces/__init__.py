"""What can be built, and what is known of it. This room imports no other room."""
