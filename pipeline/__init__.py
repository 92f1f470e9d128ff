"""The pipeline: from raw videos to located actions, and everything that touches files."""
