"""The names of the ranking classes in records. Searches of different classes are never ranked together."""

from __future__ import annotations

QUERIES = "queries"  # every new accuracy is charged as a query; the class of a record that names none
FULL_INFORMATION = "full information"  # the search reads a whole table
SUPERNET = "supernet"  # the search trains one network that contains all architectures
TRAINING = "training"  # every candidate is trained from scratch
