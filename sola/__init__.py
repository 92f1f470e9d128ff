"""Soft-Landing (SoLa): the module between a frozen snippet encoder and a localization head.

The names are in the modules (`sola.fit`, `sola.enhance`, …), so that reading the settings does not load torch.
"""
