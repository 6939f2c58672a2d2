"""Assay: core."""
