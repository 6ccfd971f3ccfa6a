"""A vector for each word from its characters: a convolution and max pooling.

Source: Ma & Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF", section 2.1
"""

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Depth, Size
from slotfill.data.indexers import PADDING, UNKNOWN, CharacterIndexer
from slotfill.data.vocab import Vocab
from slotfill.model.embeddings.base import Embedding


class CharCNN(Embedding):
    """Convolve over the characters of each token and take each filter's maximum.

    size: size of the character embeddings.
    filters: number of filters, which is the output size.
    width: filter width in characters.
    lowercase: lowercase tokens.
    max_length: maximum number of characters; the rest of a token is ignored.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        size: Size = 30,
        filters: Size = 50,
        width: Depth = 3,
        lowercase: bool = False,
        max_length: Size = 40,
    ) -> None:
        super().__init__()
        self.indexer = CharacterIndexer(vocab.tokens, lowercase=lowercase, max_length=max_length)
        self.output_size = filters
        self.vectors = nn.Embedding(len(self.indexer.ids) + 2, size, padding_idx=PADDING)
        nn.init.uniform_(self.vectors.weight[2:], -((3 / size) ** 0.5), (3 / size) ** 0.5)
        # No training sentence has an unknown character, so its vector is never trained.
        nn.init.zeros_(self.vectors.weight[UNKNOWN])
        self.width = width
        self.filters = nn.Linear(width * size, filters)

    def forward(self, char_ids: Tensor, token_index: Tensor) -> Tensor:
        """Return `(batch, time, filters)`; windows see zeros beyond the token.

        `char_ids` `(token, character)` has those of the distinct tokens, and `token_index` `(batch,
        time)` the index of each token of the batch among them.
        """
        left = (self.width - 1) // 2
        padded = nn.functional.pad(char_ids, (left, self.width - 1 - left), value=PADDING)
        # (token, character, width): for short words one product is faster than a convolution.
        windows = padded.unfold(1, self.width, 1)
        scores = self.filters(self.vectors(windows).flatten(2))
        scores = scores.masked_fill((char_ids == PADDING).unsqueeze(2), -1e4)
        return torch.tanh(scores.amax(dim=1))[token_index]
