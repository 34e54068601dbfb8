"""Spectral collaborative indexing (SCI): clusters of a co-occurrence graph become codes."""
