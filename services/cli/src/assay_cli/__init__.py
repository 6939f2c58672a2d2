"""Assay: cli."""
