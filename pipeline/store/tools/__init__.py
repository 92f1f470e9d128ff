"""Tools for whole stores: list, verify, merge, pack and unpack."""
