"""The life of one run: spec, plan, index, training, decoding, scoring, record."""
