"""A decoder-only language model as a backbone of genrec_bench. Importing this package imports no torch."""

__version__ = "0.1.0"
