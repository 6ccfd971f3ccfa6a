"""Linear-chain conditional random field: a score for each tag and each pair of neighbouring tags.

    score(y) = start[y_1] + sum_t emission[t, y_t] + sum_t transition[y_{t-1}, y_t] + end[y_n]
    loss     = log(sum over all y' of exp score(y')) - score(y)

Transitions that the tag scheme forbids score minus infinity, in training as in decoding.

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

    dropout: dropout rate on the encoder's output.
    """

    def __init__(self, input_size: int, vocab: Vocab, *, dropout: Fraction = 0.5) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        tags = len(vocab.tags)
        self.linear = nn.Linear(input_size, tags)
        self.start = nn.Parameter(torch.zeros(tags))
        self.matrix = nn.Parameter(torch.zeros(tags, tags))
        self.end = nn.Parameter(torch.zeros(tags))
        legal = legal_transitions(vocab.tags, vocab.scheme)
        tables = (("start", legal.start), ("matrix", legal.matrix), ("end", legal.end))
        for name, table in tables:
            self.register_buffer(f"legal_{name}", torch.from_numpy(table), persistent=False)

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        """Return the emissions `(batch, time, tags)`."""
        return self.linear(self.dropout(hidden))

    def loss(self, emissions: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of the gold sequences.

        It is computed in the precision of the weights or higher, under autocast too.
        """
        emissions = emissions.to(self.start.dtype)
        with torch.autocast(emissions.device.type, enabled=False):
            partition = log_partition(emissions, lengths, *self._constrained_transitions())
            return (partition - self._score(emissions, lengths, tags)).mean()

    def transitions(self) -> Transitions:
        """Return the learned scores, minus infinity where the scheme forbids."""
        return Transitions(
            *(table.detach().cpu().numpy() for table in self._constrained_transitions())
        )

    def _constrained_transitions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores `(tags,)`, `(tags, tags)` and `(tags,)` of starts, pairs and ends."""
        return (
            self.start + self.get_buffer("legal_start"),
            self.matrix + self.get_buffer("legal_matrix"),
            self.end + self.get_buffer("legal_end"),
        )

    def _score(self, emissions: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the score `(batch,)` of the sequences `tags` `(batch, time)`."""
        start, transitions, end = self._constrained_transitions()
        mask = padding_mask(lengths, tags.shape[1])
        emitted = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
        pairs = transitions[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, (lengths - 1).unsqueeze(1)).squeeze(1)
        # Filled, not multiplied: a forbidden pair at padding is minus infinity, times 0 NaN.
        sums = emitted.masked_fill(~mask, 0).sum(1) + pairs.masked_fill(~mask[:, 1:], 0).sum(1)
        return start[tags[:, 0]] + sums + end[last]
