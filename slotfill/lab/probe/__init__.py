"""Probe: how far back a cell's memory reaches."""
