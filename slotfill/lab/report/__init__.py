"""A page on the evaluation of a run: scores, errors, confidence, training."""
