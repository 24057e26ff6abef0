"""What answers a method's questions: a table today, training later."""
