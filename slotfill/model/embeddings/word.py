"""A learned vector for each word; in training, singletons are randomly replaced by <unk>.

Source: Bengio, Ducharme, Vincent & Jauvin 2003, "A Neural Probabilistic Language Model"
"""

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Count, Fraction, Size
from slotfill.data.indexers import PADDING, UNKNOWN, TokenIndexer
from slotfill.data.vocab import Vocab
from slotfill.model.embeddings.base import Embedding
from slotfill.model.layers import LookupTable


class Word(Embedding):
    """Look up each token in an embedding table.

    size: embedding size.
    lowercase: lowercase tokens.
    mask_digits: replace every digit by 0, so that `11:30` and `12:45` share a vector.
    min_count: words with a lower count in the training sentences are out of vocabulary.
    unknown_rate: probability of replacing a word of count 1 by <unk> in training.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        size: Size = 100,
        lowercase: bool = True,
        mask_digits: bool = False,
        min_count: Count = 1,
        unknown_rate: Fraction = 0.5,
    ) -> None:
        super().__init__()
        self.indexer = TokenIndexer(
            vocab.tokens, lowercase=lowercase, mask_digits=mask_digits, min_count=min_count
        )
        self.output_size = size
        self.unknown_rate = unknown_rate
        self.vectors = LookupTable(len(self.indexer.counts), size, padding_idx=PADDING)
        nn.init.uniform_(self.vectors.weight[1:], -((3 / size) ** 0.5), (3 / size) ** 0.5)
        self.rare: Tensor
        self.register_buffer("rare", torch.from_numpy(self.indexer.counts == 1), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors `(batch, time, size)` of ids `(batch, time)`; zero at padding."""
        if self.training and self.unknown_rate > 0:
            drawn = torch.rand(ids.shape, device=ids.device) < self.unknown_rate
            ids = ids.masked_fill(self.rare[ids] & drawn, UNKNOWN)
        return self.vectors(ids)
