"""One file per intent head: the intents of a sentence from the states of its tokens."""
