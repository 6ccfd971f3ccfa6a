"""Loggers: what records the epochs of a training; one file each."""
