"""Training: the loop over batches and epochs, the optimizer, data parallelism."""
