"""A vector for each word from the letters it is spelled with: a convolution and the maximum over
its places.

Source: Ma & Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF", section 2.1
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Size
from slotfill.data.indexers import PADDING, UNKNOWN
from slotfill.data.vocab import Vocab
from slotfill.model.embeddings.base import Embedding


class CharCNN(Embedding):
    """Spell each token, run filters over its characters, keep each filter's maximum.

    size: numbers in a character's vector.
    filters: how many filters, which is the size of a token's vector.
    width: characters that a filter sees at once.
    lowercase: spell in lower case.
    max_length: characters of a token that are read, from its first.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        size: Size = 30,
        filters: Size = 50,
        width: Size = 3,
        lowercase: bool = False,
        max_length: Size = 40,
    ) -> None:
        super().__init__()
        self.indexer = vocab.character_indexer(lowercase=lowercase, max_length=max_length)
        self.output_size = filters
        self.vectors = nn.Embedding(len(self.indexer.ids) + 2, size, padding_idx=PADDING)
        nn.init.uniform_(self.vectors.weight[2:], -((3 / size) ** 0.5), (3 / size) ** 0.5)
        # Every character of the training sentences is known, so nothing would ever train this one.
        nn.init.zeros_(self.vectors.weight[UNKNOWN])
        self.width = width
        self.filters = nn.Linear(width * size, filters)

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return `(batch, time, filters)` of spellings `(type, character)` and types `(batch,
        time)`.

        A window is centred on each character of the token, and what it sees beyond the token is
        zero, so the other tokens of the batch change nothing.
        """
        spellings, types = arrays
        left = (self.width - 1) // 2
        padded = nn.functional.pad(spellings, (left, self.width - 1 - left), value=PADDING)
        # (type, character, width): words are short, so joining vectors and one product beat a
        # convolution.
        places = padded.unfold(1, self.width, 1)
        windows = self.filters(self.vectors(places).flatten(2))
        windows = windows.masked_fill((spellings == PADDING).unsqueeze(2), -1e4)
        return torch.tanh(windows.amax(dim=1))[types]
