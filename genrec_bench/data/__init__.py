"""The built-in data sets: files in, interactions out."""
