"""Labelling in the terminal: keys, the editor of a sentence, and the command."""
