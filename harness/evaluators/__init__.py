"""Evaluators, which answer a method's questions: from a table, from a supernet, or by training."""
