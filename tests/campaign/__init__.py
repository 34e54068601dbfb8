"""A campaign of faults: kills, flipped bits, mutated files and nasty plugins, each with an oracle.

`python -m tests.campaign --all` prints the table that docs/reliability.md includes.
"""
