"""Ablations: what is varied, the cells, and their results."""
