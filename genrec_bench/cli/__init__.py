"""The command line, `genrec`: words and tables for people. Every number comes from the library below."""
