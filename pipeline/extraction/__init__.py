"""From videos to rows in a feature store."""
