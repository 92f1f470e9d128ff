"""A trained model applied to videos and stores."""
