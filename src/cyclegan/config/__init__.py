"""Settings: the schema, its validation and file format, and presets."""
