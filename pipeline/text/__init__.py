"""Text for people: plain, safe on a terminal, and in tables."""
