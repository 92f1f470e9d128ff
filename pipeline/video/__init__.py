"""Raw videos: finding, probing and decoding them, with the decoders kept apart from the job."""
