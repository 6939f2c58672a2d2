"""Scenarios of advglue; its parser and metric follow."""
