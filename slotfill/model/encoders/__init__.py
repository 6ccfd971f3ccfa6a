"""One file per encoder: from vectors to vectors, over the complete sentence."""
