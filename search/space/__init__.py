"""Patterns as hyperparameters of a search."""
