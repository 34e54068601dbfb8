"""RecBole's models as baselines of genrec_bench: trained in a process of their own, scored by the toolkit's code."""

__version__ = "0.1.0"
