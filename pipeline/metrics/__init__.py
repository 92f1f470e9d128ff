"""Compare detections with ground truth."""
