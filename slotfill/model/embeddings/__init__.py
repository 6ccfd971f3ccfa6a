"""One file per embedding: from token ids to vectors."""
