"""Classifiers that score texts: one embedded, any other behind a ScoringService."""
