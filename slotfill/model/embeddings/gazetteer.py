"""Features that say which tokens are in lists of known phrases, such as the names of cities.

    x_t = sum over the lists k in which token t is part of a phrase of b_k (its first) or i_k

The lists are read when training starts, and stored in the run. Phrases are compared token by token,
without case; the longest one counts.

Source: Ratinov & Roth 2009, "Design Challenges and Misconceptions in Named Entity Recognition",
section 6; features are left out at random after Yang et al. 2016, "Drop-out Conditional Random
Fields for Twitter with Huge Mined Gazetteer"
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from slotfill.config.option_types import FilePath, Fraction, Size
from slotfill.data.indexers import PADDING, GazetteerIndexer
from slotfill.data.phrases import read_phrases
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.embeddings.base import Embedding


class Gazetteer(Embedding):
    """Look up which tokens are in lists of known phrases; goes with an embedding of words.

    lists: text files with one phrase a line.
    size: embedding size.
    dropout: probability in training that a sentence is seen without the features of a list, so that
        the network also learns the phrases from their context.
    """

    contextual = True

    def __init__(
        self, vocab: Vocab, *, lists: list[FilePath], size: Size = 20, dropout: Fraction = 0.3
    ) -> None:
        super().__init__()
        if not lists:
            raise ConfigError("at least one file is needed", key="lists")
        for path in lists:
            if path not in vocab.resources:
                phrases = read_phrases(Path(path), vocab.tokenizer)
                vocab.resources[path] = {"phrases": phrases}
        self.indexer = GazetteerIndexer(
            [vocab.resources[path]["phrases"] for path in lists], files=lists
        )
        self.output_size = size
        self.dropout = dropout
        self.vectors = nn.Embedding(2 * len(lists) + 1, size, padding_idx=PADDING)
        nn.init.uniform_(self.vectors.weight[1:], -((3 / size) ** 0.5), (3 / size) ** 0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Return `(batch, time, size)` of ids `(batch, time, lists)`; zero outside of phrases."""
        if self.training and self.dropout:
            shape = (len(ids), 1, ids.shape[2])
            dropped = torch.rand(shape, device=ids.device) < self.dropout
            ids = ids.masked_fill(dropped, PADDING)
        return self.vectors(ids).sum(dim=2)
