"""Labelling sentences: which one next, and what has been labelled."""
