"""Scenarios of utility; its parser and metric follow."""
