"""Inspect: what a network computes at each token, as heat maps."""
