"""Getting data sets: the catalogue, downloads, archives, the hub, and the built-in data set."""
