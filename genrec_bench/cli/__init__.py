"""The command line: `genrec`. Words and tables for people; every number comes from the library below."""
