"""Baselines that need no training loop."""
