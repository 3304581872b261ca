"""Generators rewritten for fast inference on CPUs."""
