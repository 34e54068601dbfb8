"""Data sets: files in, interactions out."""
