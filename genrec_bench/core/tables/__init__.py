"""Tables from files: columns by the names in the header, ids normalised, every fault with its line."""
