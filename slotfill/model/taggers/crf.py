"""The whole sentence's tags are chosen together: a score for each tag and each pair of neighbours.

    score(y) = start[y_1] + sum_t emission[t, y_t] + sum_t between[y_{t-1}, y_t] + end[y_n]
    loss     = log(sum over all y' of exp score(y')) - score(y)

Transitions that the tag scheme forbids weigh nothing, in training as in decoding.

Source: Lafferty, McCallum & Pereira 2001, "Conditional Random Fields"; over an LSTM: Huang, Xu & Yu
2015
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Fraction
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import Transitions, legal_transitions
from slotfill.model.crf_partition import log_partition
from slotfill.model.dropout import LockedDropout
from slotfill.model.masks import padding_mask
from slotfill.model.taggers.base import Tagger


class CRF(Tagger):
    """A linear layer for the emissions and a table of transitions.

    dropout: share of the encoder's output that is dropped while training.
    """

    def __init__(self, input_size: int, vocab: Vocab, *, dropout: Fraction = 0.5) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        tags = len(vocab.tags)
        self.linear = nn.Linear(input_size, tags)
        self.start = nn.Parameter(torch.zeros(tags))
        self.between = nn.Parameter(torch.zeros(tags, tags))
        self.end = nn.Parameter(torch.zeros(tags))
        legal = legal_transitions(vocab.tags, vocab.scheme)
        for name, scores in (
            ("start", legal.start),
            ("between", legal.between),
            ("end", legal.end),
        ):
            self.register_buffer(f"legal_{name}", torch.from_numpy(scores), persistent=False)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return the emissions `(batch, time, tags)`."""
        return self.linear(self.dropout(hidden))

    def loss(self, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the negative log-likelihood of the gold sequences, in no less than the weights'
        precision.
        """
        emissions = self(hidden, lengths).to(self.start.dtype)
        with torch.autocast(emissions.device.type, enabled=False):
            partition = log_partition(emissions, lengths, *self._scores())
            return (partition - self.score(emissions, lengths, tags)).mean()

    def _scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """The start `(tags,)`, between `(tags, tags)` and end `(tags,)` scores, minus infinity
        where illegal.
        """
        return (
            self.start + self.get_buffer("legal_start"),
            self.between + self.get_buffer("legal_between"),
            self.end + self.get_buffer("legal_end"),
        )

    def score(self, emissions: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the score `(batch,)` of the sequences `tags` `(batch, time)`."""
        start, between, end = self._scores()
        mask = padding_mask(lengths, tags.shape[1])
        emitted = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
        moved = between[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, (lengths - 1).unsqueeze(1)).squeeze(1)
        # A forbidden pair in the padding is minus infinity, which times 0 would be no number.
        sums = emitted.masked_fill(~mask, 0).sum(1) + moved.masked_fill(~mask[:, 1:], 0).sum(1)
        return start[tags[:, 0]] + sums + end[last]

    def transitions(self) -> Transitions:
        """Return the learned scores, minus infinity where the scheme forbids."""
        start, between, end = (scores.detach().cpu().numpy() for scores in self._scores())
        return Transitions(start, between, end)
