"""Assay: coordinator."""
