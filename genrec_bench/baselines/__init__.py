"""The built-in baselines: they rank items without generating codes, and need no training loop."""
