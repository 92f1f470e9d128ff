"""Pictures: curves, self-similarity, errors."""
