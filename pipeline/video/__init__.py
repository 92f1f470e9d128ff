"""Find, probe and decode videos. Decoders run in separate processes that can be killed."""
