"""One file per encoder: from vectors to vectors, over the whole sentence."""
