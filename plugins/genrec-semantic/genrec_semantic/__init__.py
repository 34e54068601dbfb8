"""Semantic IDs for genrec-bench: what an item *is* (its text, attributes or an embedding) decides its code."""

__version__ = "0.1.0"
