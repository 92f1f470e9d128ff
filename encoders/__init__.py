"""Frozen snippet encoders: networks, weight files, and the preprocessing that travels with them.

Import names from the modules (`encoders.encoder`, `encoders.spec`, …); a decoder that needs a spec does not load torch.
"""
