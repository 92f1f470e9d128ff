"""Training data for encoders: trimmed clips, and annotated segments of untrimmed videos."""
