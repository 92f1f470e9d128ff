"""Frozen snippet encoders: networks, weight files, and the preprocessing that travels with them."""
