"""Data and files that everything else is made of. Knows no protocol, no component and no run."""
