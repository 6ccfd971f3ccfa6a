"""One file per tagger: from vectors to a score for every tag, and the loss."""
