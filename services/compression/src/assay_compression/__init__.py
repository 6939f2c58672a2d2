"""Assay: compression."""
