"""The one loop, for every method."""
