"""Codes read from a file: `readers` knows the formats, `indexer` matches keys to items and users."""
