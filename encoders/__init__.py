"""Frozen snippet encoders: networks, weight files, and the preprocessing that travels with them.

The names are in the modules (`encoders.encoder`, `encoders.spec`, …), so that a decoder that needs a spec does not load
torch.
"""
