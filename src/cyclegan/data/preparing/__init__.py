"""Making a data set ready once: splitting, resizing, cutting, joining, halving, edges, frames of video."""
