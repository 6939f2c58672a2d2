"""Scenarios of ood; its parser and metric follow."""
