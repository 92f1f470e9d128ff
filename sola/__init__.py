"""Soft-Landing (SoLa): the module between a frozen snippet encoder and a localization head."""
