"""Assay: serving."""
