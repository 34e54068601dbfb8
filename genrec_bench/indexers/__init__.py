"""The built-in indexers: interactions in, codes out."""
