"""Localization heads: their networks, settings, losses, targets and candidates."""
