"""The feature store: a folder of arrays and sidecars."""
