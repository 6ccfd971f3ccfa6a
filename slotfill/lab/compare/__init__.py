"""Compare: several configs and seeds, and whether they differ by chance."""
