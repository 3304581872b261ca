"""Images of any size in bounded memory: exactly, stage by stage, or approximately, window by window."""
