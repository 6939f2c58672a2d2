"""Assay: evaluators."""
