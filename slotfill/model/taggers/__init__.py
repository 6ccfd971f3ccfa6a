"""One file per tagger: scores of the tags from the states of the tokens, and their loss."""
