"""Measures of quality: pure functions on tensors. They know no files, no networks and no training."""
