"""Soft-Landing (SoLa): the module between a frozen snippet encoder and a localization head.

Import names from the modules (`sola.fit`, `sola.enhance`, …); reading the settings alone does not load torch.
"""
