"""A trained generator at work."""
