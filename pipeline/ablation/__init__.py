"""Ablations: the options that vary, the cells, and their results."""
