"""Data: files to sentences to padded NumPy batches."""
