"""The built-in decoders: searches over codes that know no architecture."""
