"""What is made from trimmed clips: untrimmed videos with known segments, and encoders."""
