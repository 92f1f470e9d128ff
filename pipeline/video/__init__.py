"""Finding, probing and decoding videos; decoders run in processes of their own that can be killed."""
