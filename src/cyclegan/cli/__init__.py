"""The commands: each module parses, calls and prints. Heavy imports stay inside functions to keep --help fast."""
