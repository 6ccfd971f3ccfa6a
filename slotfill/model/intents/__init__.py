"""One file per intent head: each reads the intents of a whole sentence."""
