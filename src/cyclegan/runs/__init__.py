"""What is on disk: run folders, checkpoints, models, results, and the Hugging Face hub."""
