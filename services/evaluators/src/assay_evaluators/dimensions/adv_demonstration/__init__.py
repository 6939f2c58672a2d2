"""Scenarios of adv_demonstration; its parser and metric follow."""
