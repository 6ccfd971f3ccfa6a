"""Inference: engines that compute a network, decoding, and streams of predictions."""
