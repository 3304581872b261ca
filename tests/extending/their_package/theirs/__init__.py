"""Extensions of cyclegan, each in one file."""
