"""How detections compare with ground truth."""
