"""Graph collaborative indexing (GCI): quantised LightGCN embeddings become codes."""
