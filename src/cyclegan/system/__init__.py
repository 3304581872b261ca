"""The machine: cores, memory, signals, and atomic file writes."""
