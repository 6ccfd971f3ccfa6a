"""Linear-chain conditional random field: a score for each tag and each pair of neighbouring tags.

    score(y) = start[y_1] + sum_t emission[t, y_t] + sum_t transition[y_{t-1}, y_t] + end[y_n]
    loss     = log(sum over all y' of exp score(y')) - score(y)

Transitions that the tag scheme forbids score minus infinity, in training as in decoding. The sum is
computed by the forward algorithm:

    alpha_1(j) = start[j] + emission[1, j]
    alpha_t(j) = emission[t, j] + log sum_i exp(alpha_{t-1}(i) + transition[i, j])
    log Z      = log sum_j exp(alpha_n(j) + end[j])

If tags are not known, score(y) is such a sum as well, over all sequences that agree with the known
tags and do not continue a known slot.

The sum over i is a matrix product of probabilities, each scaled by the sentence's largest alpha,
unless one of them is too small for its type (Rabiner 1989, "A Tutorial on Hidden Markov Models",
section V, on scaling).

In distillation the gold sequence is replaced by a distribution Q over sequences, see `soft_loss`.

Source: Lafferty, McCallum & Pereira 2001, "Conditional Random Fields"; over an LSTM: Huang, Xu & Yu
2015; partial labels: Tsuboi et al. 2008, "Training Conditional Random Fields Using Incomplete
Annotations"; distillation: Wang et al. 2020, "Structure-Level Knowledge Distillation For
Multilingual Sequence Labeling"
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from slotfill.config.option_types import Fraction
from slotfill.data.batching import UNKNOWN
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import Transitions, legal_transitions
from slotfill.model.layers import LockedDropout, padding_mask
from slotfill.model.taggers._slot_names import SlotNames
from slotfill.model.taggers.base import Tagger

FORBIDDEN = -1e4
"""The emission of a tag that disagrees with the labels; with infinity the gradient is NaN."""

MAX_LOST_MASS = 1e-6
"""Largest share of a sum that may be lost by underflow."""


class CRF(Tagger):
    """A linear layer for the emissions and a table of transitions.

    dropout: dropout rate on the encoder's output.
    slot_names: whether weights also come from the words of slots' names and `data.slots`, so that
        slots with similar names share them, and slots without labelled examples have some.
    """

    def __init__(
        self,
        input_size: int,
        vocab: Vocab,
        *,
        dropout: Fraction = 0.5,
        slot_names: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        tags = len(vocab.tags)
        self.linear = nn.Linear(input_size, tags)
        self.uses_slot_names = slot_names
        self.names: SlotNames | None = None
        """In training only: `finish_training` adds its part to the weights."""
        if slot_names and not vocab.is_restored:
            self.names = SlotNames(input_size, vocab)
            nn.init.zeros_(self.linear.weight)
        self.start = nn.Parameter(torch.zeros(tags))
        self.matrix = nn.Parameter(torch.zeros(tags, tags))
        self.end = nn.Parameter(torch.zeros(tags))
        legal = legal_transitions(vocab.tags, vocab.scheme)
        for name in ("start", "matrix", "end"):
            table = torch.from_numpy(getattr(legal, name))
            self.register_buffer(f"legal_{name}", table, persistent=False)
        continues = torch.from_numpy(vocab.tags_to_slots.continues)
        self.register_buffer("continues", continues, persistent=False)

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        hidden = self.dropout(hidden)
        if self.names is None:
            return self.linear(hidden)
        emissions = linear(hidden, self.linear.weight + self.names(), self.linear.bias)
        return emissions.masked_fill(self.names.is_unlabelled, FORBIDDEN)

    @torch.no_grad()
    def restart_training(self, tags: Sequence[int]) -> None:
        if self.names is not None:
            self.linear.weight[tags] -= self.names()[tags]

    @torch.no_grad()
    def finish_training(self) -> None:
        if self.names is None:
            return
        vectors = (self.linear.weight, self.linear.bias, self.start, self.end)
        self.names.fill_unlabelled(vectors, self.matrix)
        self.linear.weight += self.names()
        self.names = None

    def loss(self, emissions: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the negative log-likelihood of each gold sequence, `(batch,)`.

        It is computed in the precision of the weights or higher, under autocast too.
        """
        emissions = emissions.to(self.start.dtype)
        with torch.autocast(emissions.device.type, enabled=False):
            transitions = self._constrained_transitions()
            partition = log_partition(emissions, lengths, *transitions)
            if bool((tags == UNKNOWN).any()):
                allowed = emissions.masked_fill(~self._allowed_tags(tags), FORBIDDEN)
                score = log_partition(allowed, lengths, *transitions, check_underflow=False)
            else:
                score = self._score(emissions, lengths, tags)
            return partition - score

    def soft_loss(
        self,
        emissions: Tensor,
        lengths: Tensor,
        marginals: Tensor,
        rows: Tensor,
        pairs: Tensor,
        counts: Tensor,
    ) -> Tensor:
        """Return the cross-entropy `(batch,)` between distributions Q over sequences and P.

            - sum over y of Q(y) log P(y) = log Z - (expected score(y) under Q)

        The expected score needs only the marginals of tags and the counts of pairs.
        """
        emissions = emissions.to(self.start.dtype)
        with torch.autocast(emissions.device.type, enabled=False):
            partition = log_partition(emissions, lengths, *self._constrained_transitions())
            mask = padding_mask(lengths, emissions.shape[1]).unsqueeze(2)
            score = (marginals * emissions.masked_fill(~mask, 0)).sum((1, 2))
            # What the scheme forbids cannot be learned.
            start, matrix, end = (
                table.masked_fill(self.get_buffer(f"legal_{name}").isinf(), 0)
                for name, table in (
                    ("start", self.start),
                    ("matrix", self.matrix),
                    ("end", self.end),
                )
            )
            last = marginals[torch.arange(len(lengths), device=lengths.device), lengths - 1]
            score = score + marginals[:, 0] @ start + last @ end
            expected = matrix[pairs[0], pairs[1]] * counts
            return partition - score.index_add(0, rows, expected)

    def transitions(self) -> Transitions:
        """Return the learned scores, minus infinity where the scheme forbids."""
        tables = self._constrained_transitions()
        return Transitions(*(table.detach().cpu().numpy() for table in tables))

    def _constrained_transitions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores `(tags,)`, `(tags, tags)` and `(tags,)` of starts, pairs and ends."""
        return (
            self.start + self.get_buffer("legal_start"),
            self.matrix + self.get_buffer("legal_matrix"),
            self.end + self.get_buffer("legal_end"),
        )

    def _allowed_tags(self, tags: Tensor) -> Tensor:
        """Return whether each tag agrees with the known `tags` `(batch, time)`.

        `(batch, time, tags)`; a tag that is not known must not continue a known slot before it.
        """
        unknown = (tags == UNKNOWN).unsqueeze(2)
        allowed = (tags.unsqueeze(2) == torch.arange(len(self.start), device=tags.device)) | unknown
        continues = self.get_buffer("continues")[tags[:, :-1]] & ~unknown[:, :-1]
        allowed[:, 1:] &= ~(continues & unknown[:, 1:])
        return allowed

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


def log_partition(
    emissions: Tensor,
    lengths: Tensor,
    start: Tensor,
    transitions: Tensor,
    end: Tensor,
    *,
    check_underflow: bool = True,
) -> Tensor:
    """Return log Z `(batch,)`, over all sequences of tags.

    The emissions `(batch, time, tags)` are any number at padding; `start`, `transitions` `(from,
    to)` and `end` are minus infinity for what is forbidden. Where emissions forbid most tags, sums
    of 0 are no underflow, and are not to be looked for (`check_underflow`).
    """
    if emissions.device.type != "cpu":
        # There the products gain little, and to look for underflow is to wait for the device.
        return _log_space_partition(emissions, lengths, start, transitions, end)
    first, *others = emissions.unbind(1)
    mask = padding_mask(lengths, emissions.shape[1]).T.unsqueeze(2)
    largest_transition = transitions.detach().amax()
    weights = (transitions - largest_transition).exp()
    tiny = torch.finfo(emissions.dtype).tiny
    smallest_sum = len(start) * tiny / MAX_LOST_MASS
    alpha = start + first
    sums = []
    shortest = int(lengths.min())
    for time, emission in enumerate(others, start=1):
        largest = alpha.detach().amax(1, keepdim=True)
        sums.append((alpha - largest).exp() @ weights)
        scores = sums[-1].clamp_min(tiny).log() + (largest + largest_transition) + emission
        alpha = scores if time < shortest else torch.where(mask[time], scores, alpha)
    if check_underflow and sums and bool(torch.stack(sums).detach().amin() < smallest_sum):
        return _log_space_partition(emissions, lengths, start, transitions, end)
    return torch.logsumexp(alpha + end, dim=1)


def _log_space_partition(
    emissions: Tensor, lengths: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    mask = padding_mask(lengths, emissions.shape[1])
    alpha = start + emissions[:, 0]
    for time in range(1, emissions.shape[1]):
        scores = torch.logsumexp(alpha.unsqueeze(2) + transitions, dim=1)
        alpha = torch.where(mask[:, time : time + 1], scores + emissions[:, time], alpha)
    return torch.logsumexp(alpha + end, dim=1)
