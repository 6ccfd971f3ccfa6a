"""Mean and max pooling of the states over time, concatenated.

    pooled = [(h_1 + ... + h_n) / n ; max_j h_j]

Source: the mean: Liu & Lane 2016, "Attention-Based Recurrent Neural Network Models for Joint Intent
Detection and Slot Filling", section 3.2; the maximum: Zhang & Wang 2016, "A Joint Model of Intent
Determination and Slot Filling for Spoken Language Understanding"
"""

import torch
from torch import Tensor

from slotfill.config.option_types import Fraction, Positive
from slotfill.data.vocab import Vocab
from slotfill.model.intents.base import IntentHead


class Mean(IntentHead):
    """Mean and max pooling.

    dropout: dropout rate on the encoder's output, for this head.
    weight: weight of the intent loss; that of the slots is 1.
    feed: concatenate the intent probabilities to each token's state, as input of the tagger.
    """

    def __init__(
        self,
        input_size: int,
        vocab: Vocab,
        *,
        dropout: Fraction = 0.5,
        weight: Positive = 1.0,
        feed: bool = False,
    ) -> None:
        super().__init__(input_size, 2 * input_size, vocab, dropout, weight, feed)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return both `(batch, 2 * input)`, without padding."""
        mean = hidden.sum(1) / mask.sum(1, keepdim=True)
        lowest = torch.finfo(hidden.dtype).min
        return torch.cat((mean, hidden.masked_fill(~mask.unsqueeze(2), lowest).amax(1)), dim=1)
