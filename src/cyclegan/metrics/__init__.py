"""Image quality metrics: pure functions on tensors, independent of files, models and training."""
