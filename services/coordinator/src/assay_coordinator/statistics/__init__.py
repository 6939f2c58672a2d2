"""Paired statistics of a compressed variant against its reference: pure functions, no I/O."""
