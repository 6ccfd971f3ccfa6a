"""Targets and mutations of fuzz.py."""
