"""A vector for each word as the sum of the vectors of its character n-grams.

    x = sum over the word's n-grams g of v_g / sqrt(number of n-grams)

Source: Bojanowski, Grave, Joulin & Mikolov 2017, "Enriching Word Vectors with Subword Information",
section 3.2
"""

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Count, Depth, Fraction, Size
from slotfill.data.indexers import PADDING, NgramIndexer
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.embeddings.base import Embedding
from slotfill.model.layers import LookupTable


class Ngrams(Embedding):
    """Sum the vectors of the overlapping character n-grams of each token.

    size: embedding size.
    min_length: length of the shortest n-grams; the marks of a word's start and end count as one
        character each.
    max_length: length of the longest n-grams.
    min_count: n-grams of fewer distinct training words are ignored.
    lowercase: lowercase tokens.
    dropout: fraction of a word's n-grams that are dropped in training.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        size: Size = 100,
        min_length: Depth = 2,
        max_length: Depth = 5,
        min_count: Count = 2,
        lowercase: bool = True,
        dropout: Fraction = 0.2,
    ) -> None:
        super().__init__()
        if max_length < min_length:
            raise ConfigError(f"must be at least min_length, {min_length}", key="max_length")
        sizes = range(min_length, max_length + 1)
        self.indexer = NgramIndexer.from_words(
            vocab.tokens, lowercase=lowercase, sizes=sizes, min_count=min_count
        )
        self.output_size = size
        self.dropout = dropout
        self.vectors = LookupTable(len(self.indexer.ids) + 1, size, padding_idx=PADDING)
        nn.init.uniform_(self.vectors.weight[1:], -((3 / size) ** 0.5), (3 / size) ** 0.5)

    def forward(self, ngrams: Tensor, token_index: Tensor) -> Tensor:
        """Return `(batch, time, size)`; zero at padding and for tokens without a known n-gram.

        `ngrams` `(token, n-gram)` has the ids of the distinct tokens, and `token_index` `(batch,
        time)` the index of each token of the batch among them.
        """
        if self.training and self.dropout:
            dropped = torch.rand(ngrams.shape, device=ngrams.device) < self.dropout
            ngrams = ngrams.masked_fill(dropped, PADDING)
        count = (ngrams != PADDING).to(self.vectors.weight.dtype).sum(1, keepdim=True)
        # At least 1: the sum of no n-grams is zero.
        count = count.maximum(torch.ones_like(count))
        return (self.vectors(ngrams).sum(1) / count.sqrt())[token_index]
