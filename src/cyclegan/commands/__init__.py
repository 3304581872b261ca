"""The commands: each parses, calls, prints. What is imported inside a function keeps the help quick."""
