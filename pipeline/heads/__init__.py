"""Temporal action localization: heads, their training, detection, suppression and metrics, on plain arrays."""
