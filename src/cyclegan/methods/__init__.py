"""What is optimized: one file per method. A method knows nothing of files, devices or logging."""
