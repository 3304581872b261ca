"""Pixels: decoding, encoding, value ranges and color spaces. Knows no data sets."""
