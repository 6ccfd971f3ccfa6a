"""Runs: what is done with a run folder: train, load, evaluate, predict, export."""
