"""The classes that searches are ranked in, as records name them. Two classes are never ranked together."""

from __future__ import annotations

QUERIES = "queries"  # paid for every accuracy that it asked for; a record without a class is of this one
FULL_INFORMATION = "full information"  # read a whole table
SUPERNET = "supernet"  # trained one network that holds all architectures
TRAINING = "training"  # trained every candidate that it asked about
