"""Tune: a search over the ranges of a config."""
