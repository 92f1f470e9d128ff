"""Where work is done: here, or by the workers of a Ray cluster. Ray is imported when it is used, not before."""
