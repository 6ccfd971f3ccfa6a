"""Softmax over the tags, at each token independently.

    P(y_t) = softmax(h_t W + b)

Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs"
"""

from torch import Tensor, nn

from slotfill.config.option_types import Fraction
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import legal_transitions
from slotfill.model.layers import LockedDropout
from slotfill.model.taggers.base import Tagger


class Softmax(Tagger):
    """A linear layer and a softmax over the tags.

    dropout: dropout rate on the encoder's output.
    constrained: decode the best sequence that the tag scheme allows, not each token's best tag.
    """

    def __init__(
        self, input_size: int, vocab: Vocab, *, dropout: Fraction = 0.5, constrained: bool = False
    ) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        self.linear = nn.Linear(input_size, len(vocab.tags))
        if constrained:
            self.legal_transitions = legal_transitions(vocab.tags, vocab.scheme)

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        return self.linear(self.dropout(hidden))
