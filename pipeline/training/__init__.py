"""Training of localization heads."""
