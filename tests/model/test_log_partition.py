"""The CRF's log partition function, against log space in double precision."""

from __future__ import annotations

import pytest
import torch
from part_cases import SCHEMES

from slotfill.data.schemes import all_tags
from slotfill.inference.decoding import legal_transitions
from slotfill.model.taggers import crf
from slotfill.model.taggers.crf import log_partition

LENGTHS = torch.tensor([9, 1, 7, 9, 2])


def random_scores(scheme, scale, seed, dtype=torch.float64):
    """Return random emissions, start, matrix and end, minus infinity where `scheme` forbids."""
    tags = all_tags(["city", "time", "day"], scheme)
    legal = legal_transitions(tags, scheme)
    generator = torch.Generator().manual_seed(seed)
    shapes = [(len(LENGTHS), 9, len(tags)), (len(tags),), (len(tags), len(tags)), (len(tags),)]
    drawn = [
        scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    ]
    for each, allowed in zip(drawn[1:], (legal.start, legal.matrix, legal.end), strict=True):
        each += torch.from_numpy(allowed)
    return [each.to(dtype).requires_grad_() for each in drawn]


def in_log_space(*scores):
    """Return the log and its gradients, with a weight for each sentence, in double precision."""
    emissions, *others = (each.detach().double().requires_grad_() for each in scores)
    return log_and_gradients(
        crf._log_space_partition(emissions, LENGTHS, *others), [emissions, *others]
    )


def log_and_gradients(log, scores):
    weights = torch.arange(1.0, 6, dtype=log.dtype)
    return log.detach(), *torch.autograd.grad((log * weights).sum(), scores)


def forbid_log_space(monkeypatch):
    monkeypatch.setattr(crf, "_log_space_partition", lambda *_: pytest.fail("log space was needed"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("scale", [0, 1, 5])
def test_log_partition_and_gradients_are_exact(scheme, scale, monkeypatch):
    scores = random_scores(scheme, scale, 1)
    expected = in_log_space(*scores)
    forbid_log_space(monkeypatch)
    actual = log_and_gradients(log_partition(scores[0], LENGTHS, *scores[1:]), scores)
    for computed, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(computed, reference, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.1, 1, 3, 10, 20, 30, 50, 80, 150, 400])
def test_exact_for_any_range_of_scores(scale, seed):
    """In single precision, on either path."""
    scores = random_scores("bioes", scale, seed, torch.float32)
    expected = in_log_space(*scores)
    actual = log_and_gradients(log_partition(scores[0], LENGTHS, *scores[1:]), scores)
    torch.testing.assert_close(actual[0].double(), expected[0], atol=2e-5, rtol=2e-6)
    for computed, reference in zip(actual[1:], expected[1:], strict=True):
        # Of logarithms as large as 1,000 the rounding alone is 1e-4.
        torch.testing.assert_close(
            computed.double(), reference, atol=1e-5 * max(scale, 1), rtol=1e-4
        )


def test_scores_of_a_trained_network_take_the_fast_path(monkeypatch):
    forbid_log_space(monkeypatch)
    for seed in range(20):
        emissions, *others = random_scores("iob2", 5, seed, torch.float32)
        assert log_partition(emissions, LENGTHS, *others).isfinite().all()


def test_a_path_below_the_range_of_single_precision():
    """The only legal path is e^-200 of the best tag at each token."""
    emissions = torch.zeros(1, 3, 3)
    emissions[0, :, 0] = 200
    matrix = torch.full((3, 3), -1000.0)
    matrix[1, 1] = matrix[0, 2] = 0
    scores = [emissions, torch.zeros(3), matrix, torch.zeros(3)]
    for each in scores:
        each.requires_grad_()
    log = log_partition(emissions, torch.tensor([3]), *scores[1:])
    assert float(log.detach()) == pytest.approx(0, abs=1e-5)
    (gradient,) = torch.autograd.grad(log.sum(), emissions)
    torch.testing.assert_close(gradient[0], torch.tensor([[0.0, 1, 0]] * 3))


def test_a_gpu_is_not_synchronized():
    """A tensor without values raises where one is read."""
    scores = [each.detach().to("meta") for each in random_scores("bioes", 1, 2)]
    assert log_partition(scores[0], LENGTHS.to("meta"), *scores[1:]).shape == (5,)


def test_emissions_at_padding_are_ignored():
    scores = random_scores("iob2", 2, 3)
    expected = log_and_gradients(log_partition(scores[0], LENGTHS, *scores[1:]), scores)
    padded = torch.arange(9) >= LENGTHS.unsqueeze(1)
    for number in (-1e4, 1e4):
        others = [
            scores[0].detach().masked_fill(padded.unsqueeze(2), number).requires_grad_(),
            *scores[1:],
        ]
        actual = log_and_gradients(log_partition(others[0], LENGTHS, *others[1:]), others)
        for computed, reference in zip(actual, expected, strict=True):
            torch.testing.assert_close(computed, reference, atol=1e-12, rtol=1e-12)


def test_nan_and_infinity_are_not_hidden():
    """Training must notice divergence."""
    for bad in (torch.nan, torch.inf):
        emissions, *others = random_scores("iob2", 1, 1)
        with torch.no_grad():
            emissions[0, 3, 2] = bad
        assert not log_partition(emissions, LENGTHS, *others)[0].isfinite()
