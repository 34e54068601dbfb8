"""Searches over options: what may vary, which trial comes next, and the ledger of trials."""
