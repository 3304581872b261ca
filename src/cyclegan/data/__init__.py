"""Images on disk to tensors in [-1, 1]."""
