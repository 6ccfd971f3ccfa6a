"""The CRF's sum over all sequences, on scaled probabilities, against the same on logarithms in
double precision.
"""

from __future__ import annotations

import pytest
import torch
from part_cases import SCHEMES

from slotfill.data.schemes import all_tags
from slotfill.inference.decoding import legal_transitions
from slotfill.model import crf_partition as _partition
from slotfill.model.crf_partition import log_partition

LENGTHS = torch.tensor([9, 1, 7, 9, 2])


def scores_of(scheme, scale, seed, dtype=torch.float64):
    """Random emissions, start, between and end, minus infinity where `scheme` forbids, up to
    `scale` times a few.
    """
    tags = all_tags(["city", "time", "day"], scheme)
    legal = legal_transitions(tags, scheme)
    generator = torch.Generator().manual_seed(seed)
    shapes = [(len(LENGTHS), 9, len(tags)), (len(tags),), (len(tags), len(tags)), (len(tags),)]
    drawn = [
        scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    ]
    for each, allowed in zip(drawn[1:], (legal.start, legal.between, legal.end), strict=True):
        each += torch.from_numpy(allowed)
    return [each.to(dtype).requires_grad_() for each in drawn]


def by_logarithms(*scores):
    """The log and its gradients, each sentence weighed otherwise, in double precision."""
    emissions, *others = (each.detach().double().requires_grad_() for each in scores)
    return derived(_partition._by_logarithms(emissions, LENGTHS, *others), [emissions, *others])


def derived(log, scores):
    weights = torch.arange(1.0, 6, dtype=log.dtype)
    return log.detach(), *torch.autograd.grad((log * weights).sum(), scores)


def forbid_logarithms(monkeypatch):
    monkeypatch.setattr(_partition, "_by_logarithms", lambda *_: pytest.fail("a sum on logarithms"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("scale", [0, 1, 5])
def test_log_and_gradients(scheme, scale, monkeypatch):
    scores = scores_of(scheme, scale, 1)
    wanted = by_logarithms(*scores)
    forbid_logarithms(monkeypatch)
    found = derived(log_partition(scores[0], LENGTHS, *scores[1:]), scores)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.1, 1, 3, 10, 20, 30, 50, 80, 150, 400])
def test_never_wrong_however_far_scores_are_apart(scale, seed):
    """In single precision, whichever way it takes."""
    scores = scores_of("bioes", scale, seed, torch.float32)
    wanted = by_logarithms(*scores)
    found = derived(log_partition(scores[0], LENGTHS, *scores[1:]), scores)
    torch.testing.assert_close(found[0].double(), wanted[0], atol=2e-5, rtol=2e-6)
    for ours, theirs in zip(found[1:], wanted[1:], strict=True):
        # Of logarithms as large as 1,000 the rounding alone is 1e-4.
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5 * max(scale, 1), rtol=1e-4)


def test_takes_the_quick_way_at_scores_of_a_trained_network(monkeypatch):
    forbid_logarithms(monkeypatch)
    for seed in range(20):
        emissions, *others = scores_of("iob2", 8, seed, torch.float32)
        assert log_partition(emissions, LENGTHS, *others).isfinite().all()


def test_a_path_that_is_too_unlikely_at_first_for_single_precision():
    """The only way on leads through what is e^-200 of the best at each token: both directions lose
    it by themselves.
    """
    emissions = torch.zeros(1, 3, 3)
    emissions[0, :, 0] = 200
    between = torch.full((3, 3), -1000.0)
    between[1, 1] = between[0, 2] = 0
    scores = [emissions, torch.zeros(3), between, torch.zeros(3)]
    for each in scores:
        each.requires_grad_()
    log = log_partition(emissions, torch.tensor([3]), *scores[1:])
    assert float(log.detach()) == pytest.approx(0, abs=1e-5)
    (gradient,) = torch.autograd.grad(log.sum(), emissions)
    torch.testing.assert_close(gradient[0], torch.tensor([[0.0, 1, 0]] * 3))


def test_a_device_is_not_asked(monkeypatch):
    """There it is double precision, and no number where even that would lose something."""
    monkeypatch.setattr(_partition, "_answers_at_once", lambda _: False)
    for scale in (1, 30, 80):
        scores = scores_of("bioes", scale, 2, torch.float32)
        wanted = by_logarithms(*scores)
        with monkeypatch.context() as patch:
            forbid_logarithms(patch)
            found = derived(log_partition(scores[0], LENGTHS, *scores[1:]), scores)
        assert found[0].dtype == torch.float32
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)
    far = scores_of("bioes", 5000, 2, torch.float32)
    assert log_partition(far[0], LENGTHS, *far[1:]).isnan().all()


def test_what_stands_at_padding_does_not_matter():
    scores = scores_of("iob2", 2, 3)
    wanted = derived(log_partition(scores[0], LENGTHS, *scores[1:]), scores)
    padded = torch.arange(9) >= LENGTHS.unsqueeze(1)
    for number in (-1e4, 1e4):
        others = [
            scores[0].detach().masked_fill(padded.unsqueeze(2), number).requires_grad_(),
            *scores[1:],
        ]
        found = derived(log_partition(others[0], LENGTHS, *others[1:]), others)
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_bad_numbers_stay_bad():
    """So that training sees that it diverges."""
    for bad in (torch.nan, torch.inf):
        emissions, *others = scores_of("iob2", 1, 1)
        with torch.no_grad():
            emissions[0, 3, 2] = bad
        assert not log_partition(emissions, LENGTHS, *others)[0].isfinite()
