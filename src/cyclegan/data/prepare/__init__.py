"""Preparing a data set once: splitting, resizing, cropping, joining, halving, edges, video frames."""
