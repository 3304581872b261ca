"""Trained generators behind an HTTP interface: `cyclegan serve`."""
