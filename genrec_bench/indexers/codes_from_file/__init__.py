"""Codes read from a file."""
