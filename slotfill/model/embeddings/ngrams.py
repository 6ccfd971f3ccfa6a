"""A vector for each word, made of those of the n-grams of characters in it; words of like spelling
have like vectors.

    x = sum over the word's n-grams g of v_g, over sqrt(how many they are)

Source: Bojanowski, Grave, Joulin & Mikolov 2017, "Enriching Word Vectors with Subword Information",
section 3.2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Count, Fraction, Size
from slotfill.data.indexers import PADDING
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.embeddings.base import Embedding


class Ngrams(Embedding):
    """Cut each token into overlapping pieces and add up what they tell.

    size: numbers in a vector.
    shortest: characters of the shortest n-gram; the marks of a word's beginning and end count as
    one each.
    longest: characters of the longest.
    min_count: an n-gram that fewer words of training have is left out.
    lowercase: cut in lower case.
    dropout: share of a word's n-grams that are left out while training.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        size: Size = 100,
        shortest: Size = 2,
        longest: Size = 5,
        min_count: Count = 2,
        lowercase: bool = True,
        dropout: Fraction = 0.2,
    ) -> None:
        super().__init__()
        if longest < shortest:
            raise ConfigError(
                f"longest: {longest} characters are fewer than those of the shortest, {shortest}"
            )
        sizes = range(shortest, longest + 1)
        self.indexer = vocab.ngram_indexer(lowercase=lowercase, sizes=sizes, min_count=min_count)
        self.output_size = size
        self.dropout = dropout
        self.vectors = nn.Embedding(len(self.indexer.ids) + 1, size, padding_idx=PADDING)
        nn.init.uniform_(self.vectors.weight[1:], -((3 / size) ** 0.5), (3 / size) ** 0.5)

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return the vectors `(batch, time, size)` of n-grams `(type, n-gram)` and types `(batch,
        time)`.

        Zero at padding, and for a token of which no n-gram is known.
        """
        ngrams, types = arrays
        if self.training and self.dropout:
            ngrams = ngrams.masked_fill(
                torch.rand(ngrams.shape, device=ngrams.device) < self.dropout, PADDING
            )
        found = (ngrams != PADDING).to(self.vectors.weight.dtype).sum(1, keepdim=True)
        # A token without any has a sum of zero to be divided by 1.
        return (self.vectors(ngrams).sum(1) / found.maximum(torch.ones_like(found)).sqrt())[types]
