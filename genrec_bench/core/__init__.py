"""Arrays, data types and files that every other room is made of. Knows no protocol, no component and no run."""
