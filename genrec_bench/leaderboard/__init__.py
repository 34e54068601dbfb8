"""Boards: records in, tables and pages out."""
