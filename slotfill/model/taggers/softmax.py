"""Each token's tag is chosen by itself.

    P(y_t) = softmax(h_t W + b)

Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs"
"""

from __future__ import annotations

from torch import Tensor, nn

from slotfill.config.option_types import Fraction
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import Transitions, legal_transitions
from slotfill.model.dropout import LockedDropout
from slotfill.model.masks import padding_mask
from slotfill.model.taggers.base import Tagger


class Softmax(Tagger):
    """A linear layer and a softmax over the tags.

    dropout: share of the encoder's output that is dropped while training.
    constrained: choose the best sequence that the tag scheme allows, instead of each token's best
    tag.
    """

    def __init__(
        self, input_size: int, vocab: Vocab, *, dropout: Fraction = 0.5, constrained: bool = False
    ) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        self.linear = nn.Linear(input_size, len(vocab.tags))
        self._legal = legal_transitions(vocab.tags, vocab.scheme) if constrained else None

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores `(batch, time, tags)`."""
        return self.linear(self.dropout(hidden))

    def loss(self, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the cross-entropy, summed over each sentence's tokens."""
        emissions = self(hidden, lengths)
        mask = padding_mask(lengths, hidden.shape[1])
        return nn.functional.cross_entropy(emissions[mask], tags[mask], reduction="sum") / len(
            hidden
        )

    def transitions(self) -> Transitions | None:
        """Return 0 for what the scheme allows and minus infinity for the rest, if constrained."""
        return self._legal
