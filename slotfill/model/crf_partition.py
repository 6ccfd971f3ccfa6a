"""The log of what all tag sequences weigh together, and its gradient, from one run over the
sentence both ways.

    s_t(j) = sum_i a_{t-1}(i) exp between[i, j]        a_t(j) = s_t(j) exp emission[t, j]
    forwards r_t(i) = sum_j exp between[i, j] exp emission[t+1, j] r_{t+1}(j)
    backwards p_t(j) = a_t(j) r_t(j) / sum over j of the same, the probability of tag j at token t

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models", section V: a_t is scaled so that it sums
to 1
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slotfill.model.masks import padding_mask

LOST = 1e-6
"""The share of all weight that scaled probabilities may lose by being too small for their type."""


def log_partition(
    emissions: Tensor, lengths: Tensor, start: Tensor, between: Tensor, end: Tensor
) -> Tensor:
    """Return the log `(batch,)` of the sum over all tag sequences of their exponentiated scores.

    `emissions` `(batch, time, tags)` may be any number at padding; `start` and `end` `(tags,)` and
    `between` `(tags, tags)` minus infinity. By probabilities scaled at each token, or by logarithms
    where that would lose something.
    """
    dtype, asks = emissions.dtype, _answers_at_once(emissions)
    if not asks:
        # So in double precision, whose range is enough for networks that still learn; and no number
        # where it is not.
        emissions, start, between, end = (
            scores.double() for scores in (emissions, start, between, end)
        )
    kept, log, *shares = _scaled(
        emissions.detach(), lengths, start.detach(), between.detach(), end.detach()
    )
    if not asks:
        log = torch.where(kept, log, torch.nan)
    elif not kept:
        return _by_logarithms(emissions, lengths, start, between, end)
    known: Tensor = _Known.apply(emissions, start, between, end, lengths, log, *shares)
    return known.to(dtype)


def _answers_at_once(tensor: Tensor) -> bool:
    """Whether to look at a number is not to wait for a device."""
    return tensor.device.type == "cpu"


def _by_logarithms(
    emissions: Tensor, lengths: Tensor, start: Tensor, between: Tensor, end: Tensor
) -> Tensor:
    mask = padding_mask(lengths, emissions.shape[1])
    alpha = start + emissions[:, 0]
    for time in range(1, emissions.shape[1]):
        reached = torch.logsumexp(alpha.unsqueeze(2) + between, dim=1)
        alpha = torch.where(mask[:, time : time + 1], reached + emissions[:, time], alpha)
    return torch.logsumexp(alpha + end, dim=1)


def _scaled(
    emissions: Tensor, lengths: Tensor, start: Tensor, between: Tensor, end: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return whether all but `LOST` is kept, the log `(batch,)`, p `(batch, time, tags)`, and a and
    what follows it.

    The last two, `(time, batch, tags)`, with exp between in the middle, are the probabilities of
    neighbours.
    """
    batch, time, tags = emissions.shape
    mask = padding_mask(lengths, time)
    highest = [scores.amax() for scores in (start, between, end)]
    top = emissions.amax(2, keepdim=True)
    likely = (emissions - top).exp()
    places = torch.arange(time, device=lengths.device).expand(batch, time)
    turned = torch.where(mask, lengths.unsqueeze(1) - 1 - places, places)
    sentence = torch.arange(batch, device=lengths.device).unsqueeze(1)
    # Both ways side by side, (direction, time, batch, tags), each sentence turned round within its
    # own length.
    order = torch.stack(((places + sentence * time).T, (turned + sentence * time).T))
    emitted = likely.flatten(0, 1).index_select(0, order.flatten()).view(2, time, batch, tags)
    weights = (between - highest[1]).exp()
    weights = torch.stack((weights, weights.T))
    reached, passed = torch.empty_like(emitted), torch.empty_like(emitted)
    scale = emitted.new_empty(2, time, batch, 1)
    tiny = torch.finfo(scale.dtype).tiny
    reached[:, 0] = torch.stack(((start - highest[0]).exp(), (end - highest[2]).exp())).unsqueeze(1)
    steps = list(
        zip(*(tensor.unbind(1) for tensor in (reached, passed, emitted, scale)), strict=True)
    )
    for number, (here, there, likely_here, total) in enumerate(steps):
        if number:
            torch.bmm(steps[number - 1][1], weights, out=here)
        torch.mul(here, likely_here, out=there)
        torch.sum(there, 2, keepdim=True, out=total)
        # What goes on behind a sentence is left aside below; but it must not become 0 / 0.
        there.div_(total.clamp_min_(tiny))
    back = ((time + turned) * batch + sentence).flatten()
    onward = reached.flatten(0, 2).index_select(0, back).view(batch, time, tags)
    forward, scales = passed[0], scale[0].transpose(0, 1)
    probabilities = forward.transpose(0, 1) * onward
    shared = probabilities.sum(2, keepdim=True)
    weight = shared * scales
    real = mask.unsqueeze(2)
    # What is too small at a token is less than tiny for each pair of tags, against all that goes
    # through there.
    kept = torch.where(real, weight, 1).amin() >= tags**2 * tiny / LOST
    endless = shared.new_full((), torch.inf)
    probabilities.div_(torch.where(real, shared, endless))
    onward.mul_(likely).div_(torch.where(real, weight, endless))
    last = shared.squeeze(2).gather(1, (lengths - 1).unsqueeze(1)).squeeze(1).log()
    log = (scales.log() + top).masked_fill(~real, 0).sum((1, 2)) + last
    log += highest[0] + highest[1] * (lengths - 1) + highest[2]
    return kept, log, probabilities, forward, onward.transpose(0, 1)


class _Known(torch.autograd.Function):
    """The log, whose gradient is already known."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        """Take the scores that the log is derived by, the lengths, the log, and what `_scaled`
        gives beside it.
        """
        _, _, between, _, lengths, log, probabilities, before, after = given
        ctx.save_for_backward(between, lengths, probabilities, before, after)
        return log

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """By a score, the log's derivative is how often it is expected to count."""
        between, lengths, probabilities, before, after = ctx.saved_tensors
        by_emission = probabilities * gradient.view(-1, 1, 1)
        sentences = torch.arange(len(lengths), device=lengths.device)
        pairs = before[:-1].flatten(0, 1).T @ (after[1:] * gradient.unsqueeze(1)).flatten(0, 1)
        by_between = pairs.mul_((between - between.amax()).exp())
        by_end = by_emission[sentences, lengths - 1].sum(0)
        return (
            by_emission,
            by_emission[:, 0].sum(0),
            by_between,
            by_end,
            None,
            None,
            None,
            None,
            None,
        )
