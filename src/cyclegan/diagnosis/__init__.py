"""Diagnosing a run from its images, discriminators, gradients and loss curves."""
