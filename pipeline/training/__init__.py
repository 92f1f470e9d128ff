"""Train localization heads."""
