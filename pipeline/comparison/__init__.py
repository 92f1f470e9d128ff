"""Comparisons: each way to adapt an encoder's features to annotated videos, with its quality and its cost."""
