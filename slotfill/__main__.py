"""`python -m slotfill`: the command line."""

from slotfill.cli import main

main()
