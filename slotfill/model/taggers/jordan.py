"""Jordan network: the hidden layer sees the tag distribution of the previous token.

    h_t = f(x_t W + y_{t-1} U + h_{t-1} R + b)
    y_t = softmax(h_t V + b_v)

y_0 and h_0 are zeros; only the Elman-Jordan hybrid has h_{t-1} R. The feedback is always the
network's own softmax output, in training too, never the gold tag.

Source: Jordan 1986, "Serial Order: A Parallel Distributed Processing Approach"; hybrid: Mesnil et
al. 2015, "Using Recurrent Neural Networks for Slot Filling in Spoken Language Understanding"

A plain Jordan network is this tagger over `encoder: {name: feedforward, layers: 0}`, which only
concatenates the vectors of its window.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Fraction, Size
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import legal_transitions
from slotfill.model.cells.base import State
from slotfill.model.layers import LockedDropout
from slotfill.model.recurrence import scan
from slotfill.model.taggers.base import Tagger


class Jordan(Tagger):
    """A hidden layer that sees the previous token's tag distribution.

    Records `hidden` and `feedback`, `(1, batch, ...)` for each step.

    hidden_size: size of the hidden layer.
    activation: the function f.
    elman: the hidden layer also sees its previous state: the Elman-Jordan hybrid.
    dropout: dropout rate on the encoder's output.
    constrained: decode the best sequence that the tag scheme allows, not each token's best tag.
    """

    def __init__(
        self,
        input_size: int,
        vocab: Vocab,
        *,
        hidden_size: Size = 128,
        activation: Literal["sigmoid", "tanh", "relu"] = "sigmoid",
        elman: bool = False,
        dropout: Fraction = 0.5,
        constrained: bool = False,
    ) -> None:
        super().__init__()
        tags = len(vocab.tags)
        self.activation = activation
        self.dropout = LockedDropout(dropout)
        self.input = nn.Linear(input_size, hidden_size)
        self.feedback = nn.Linear(tags, hidden_size, bias=False)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False) if elman else None
        if self.recurrent is not None:
            nn.init.orthogonal_(self.recurrent.weight)
        self.output = nn.Linear(hidden_size, tags)
        if constrained:
            self.legal_transitions = legal_transitions(vocab.tags, vocab.scheme)

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        """Return the logits `(batch, time, tags)`, whose softmax y_t is fed back."""
        f = getattr(torch, self.activation)
        feedback = self.feedback.weight.T
        recurrent = None if self.recurrent is None else self.recurrent.weight.T
        # Transposed once to (time, batch, hidden), so that each step is contiguous.
        projected = self.input(self.dropout(hidden).transpose(0, 1))

        def step(projected: Tensor, state: State) -> tuple[State, State]:
            y, h = state
            self.record(feedback=y.unsqueeze(0))
            total = torch.addmm(projected, y, feedback)
            h = f(total if recurrent is None else torch.addmm(total, h, recurrent))
            self.record(hidden=h.unsqueeze(0))
            emissions = self.output(h)
            return (emissions,), (emissions.softmax(1), h)

        y = hidden.new_zeros(hidden.shape[0], self.output.out_features)
        h = hidden.new_zeros(hidden.shape[0], self.output.in_features)
        return scan(step, projected, (y, h), axis=0)[0]
