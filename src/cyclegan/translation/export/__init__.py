"""Exported models: writers for each format, and their verification against the original."""
