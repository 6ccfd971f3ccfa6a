"""Significance tests against exact enumeration, and Holm's correction against examples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from slotfill.evaluation.metrics import compute_f1
from slotfill.lab.compare.significance import (
    bootstrap_interval,
    correct_holm,
    mean_f1,
    paired_randomization_test,
)


def counts(rows):
    """Counts of one seed, `(1, sentence, 3)`, from triples of correct, predicted and gold slots."""
    return np.array([rows])


ONE = counts(
    [(2, 2, 2), (1, 2, 2), (2, 2, 3), (0, 1, 1), (1, 1, 1), (3, 3, 3), (1, 1, 2), (0, 0, 1)]
)
OTHER = counts(
    [(1, 2, 2), (1, 1, 2), (0, 2, 3), (0, 0, 1), (0, 1, 1), (3, 3, 3), (0, 1, 2), (1, 1, 1)]
)


def systems(sentences, seeds, better, seed=0):
    """Counts of two systems on sentences with two gold slots; `better` is the gap in accuracy."""
    random = np.random.default_rng(seed)

    def one(rate):
        right = random.binomial(2, rate, (seeds, sentences))
        return np.stack([right, np.full_like(right, 2), np.full_like(right, 2)], axis=2)

    return one(0.6 + better), one(0.6)


def every_swap(one, other):
    """The p-value of the exact test over all 2^n ways to swap sentences."""
    sentences = one.shape[1]
    real = abs(mean_f1(one) - mean_f1(other))
    as_large = 0
    for swap in product((False, True), repeat=sentences):
        left = np.stack(
            [(other if swapped else one)[:, i] for i, swapped in enumerate(swap)], axis=1
        )
        right = np.stack(
            [(one if swapped else other)[:, i] for i, swapped in enumerate(swap)], axis=1
        )
        as_large += abs(mean_f1(left) - mean_f1(right)) >= real - 1e-9
    return as_large / 2**sentences


def test_mean_f1():
    # 2 * 10 / (12 + 15), and with a second seed, all wrong, half of it.
    assert mean_f1(ONE) == pytest.approx(2000 / 27)
    wrong = ONE * [0, 1, 1]
    assert mean_f1(np.concatenate([ONE, wrong])) == pytest.approx(1000 / 27)


@pytest.mark.parametrize("seeds", [1, 3])
def test_randomization_approximates_the_exact_test(seeds):
    one, other = (ONE, OTHER) if seeds == 1 else systems(9, 3, 0.2)
    assert one.shape[0] == seeds
    exact = every_swap(one, other)
    assert 0.02 < exact < 0.5
    assert paired_randomization_test(one, other) == pytest.approx(exact, abs=0.012)


def test_equal_sentences_do_not_change_p():
    more = np.concatenate([ONE, np.tile(ONE[:, :1] * 0, (1, 5, 1))], axis=1)
    less = np.concatenate([OTHER, np.tile(OTHER[:, :1] * 0, (1, 5, 1))], axis=1)
    assert paired_randomization_test(more, less) == paired_randomization_test(ONE, OTHER)


def test_the_seeds_of_a_sentence_are_swapped_together():
    # The same outputs under five seeds are no more evidence than under one.
    five = [np.repeat(each, 5, axis=0) for each in (ONE, OTHER)]
    assert paired_randomization_test(*five) == paired_randomization_test(ONE, OTHER)
    assert bootstrap_interval(*five) == pytest.approx(bootstrap_interval(ONE, OTHER))


def test_equal_systems_have_p_1_and_an_interval_of_0():
    assert paired_randomization_test(ONE, ONE) == 1
    assert bootstrap_interval(ONE, ONE) == (0, 0)
    # Half the sentences better, half as much worse: the difference is 0, and every other is as
    # large.
    mirrored = np.concatenate([ONE, OTHER], axis=1), np.concatenate([OTHER, ONE], axis=1)
    assert paired_randomization_test(*mirrored) == 1


def test_the_test_is_symmetric():
    one, other = systems(200, 2, 0.03)
    assert paired_randomization_test(one, other) == pytest.approx(
        paired_randomization_test(other, one), abs=0.001
    )
    low, high = bootstrap_interval(one, other)
    assert bootstrap_interval(other, one) == pytest.approx((-high, -low))
    assert low < mean_f1(one) - mean_f1(other) < high


def test_deterministic_and_never_0():
    one, other = systems(300, 2, 0.3)
    assert paired_randomization_test(one, other) == 1 / 10_001
    one, other = systems(300, 1, 0.04)
    assert paired_randomization_test(one, other) == paired_randomization_test(one, other)
    assert bootstrap_interval(one, other) == bootstrap_interval(one, other)


def test_p_is_uniform_under_the_null_hypothesis():
    ps = np.array(
        [paired_randomization_test(*systems(60, 2, 0.0, seed), draws=400) for seed in range(200)]
    )
    assert 0.01 <= np.mean(ps < 0.05) <= 0.1
    assert 0.4 <= np.mean(ps < 0.5) <= 0.6


def test_bootstrap_against_resampling_one_by_one():
    one, other = systems(40, 2, 0.1)
    random = np.random.default_rng(7)
    differences = []
    for _ in range(3000):
        drawn = random.integers(0, 40, 40)
        f1s = [compute_f1(each[:, drawn].sum(axis=1)).mean() for each in (one, other)]
        differences.append(f1s[0] - f1s[1])
    assert bootstrap_interval(one, other) == pytest.approx(
        np.percentile(differences, [2.5, 97.5]), abs=0.8
    )


def test_holm_correction():
    assert correct_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert correct_holm([0.02]) == [0.02]
    assert correct_holm([]) == []
