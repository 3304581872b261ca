"""Generators and discriminators. They know nothing of losses, data or devices."""
