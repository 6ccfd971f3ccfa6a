"""The log partition function of a linear-chain CRF, by the forward algorithm.

    alpha_1(j) = start[j] + emission[1, j]
    alpha_t(j) = emission[t, j] + log sum_i exp(alpha_{t-1}(i) + transition[i, j])
    log Z      = log sum_j exp(alpha_n(j) + end[j])

The sum over i is a matrix product of probabilities, each scaled by the sentence's largest alpha,
unless one of them is too small for its type.

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models", section V, on scaling
"""

from __future__ import annotations

import torch
from torch import Tensor

from slotfill.model.masks import padding_mask

MAX_LOST_MASS = 1e-6
"""Largest share of a sum that may be lost by underflow."""


def log_partition(
    emissions: Tensor, lengths: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    """Return log Z `(batch,)`, over all sequences of tags.

    Args:
        emissions: `(batch, time, tags)`; any number at padding.
        lengths: `(batch,)`.
        start: `(tags,)`; minus infinity where a sentence may not start.
        transitions: `(tags, tags)`, from and to, likewise.
        end: `(tags,)`, likewise.
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
    for emission, real in zip(others, mask[1:], strict=True):
        largest = alpha.detach().amax(1, keepdim=True)
        sums.append((alpha - largest).exp() @ weights)
        scores = sums[-1].clamp_min(tiny).log() + (largest + largest_transition)
        alpha = torch.where(real, scores + emission, alpha)
    if sums and bool(torch.stack(sums).detach().amin() < smallest_sum):
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
