"""The version of slotfill, and of the files that it writes."""

__version__ = "0.1.0"

FORMAT = 2
"""The version of config files and run folders; one of another version is refused."""
