"""Checking a data set before training: one pass over the files, then findings in plain words."""
