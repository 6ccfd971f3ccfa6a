"""`python -m slotfill`: the command line."""

from slotfill.cli.main import main

main()
