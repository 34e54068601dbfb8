"""What people call in notebooks and scripts, beside `run`: objects that show themselves and give data frames.

    comparing  systems beside each other: a table, a plot, a sentence for each
    boards     a published board
    ledgers    the trials of tuning
    splitting  the protocol's parts of a data set
    shown      HTML tables, which need no pandas

Computes no number of its own.
"""
