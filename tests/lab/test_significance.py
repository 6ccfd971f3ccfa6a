"""Significance tests: simulated null experiments, exact enumeration, and examples of Holm's."""

from __future__ import annotations

import importlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from slotfill.evaluation.metrics import compute_f1
from slotfill.lab.compare.significance import (
    bootstrap_interval,
    compare_f1,
    correct_holm,
    mean_f1,
    paired_randomization_test,
    student_quantile,
    student_tail,
)

ROOT = Path(__file__).parents[2]


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


@pytest.fixture
def script(monkeypatch):
    """The script that checks the test, whose simulations are used here."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("check_significance")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spread": 0.1},
        {"seeds": 4, "others": 5, "spread": 0.1, "other_spread": 0.002},
        {"own": 2.0, "spread": 0.02, "seeds": 6, "sentences": 80},
    ],
    ids=str,
)
def test_one_in_twenty_equal_configs_differ_significantly(options, script):
    ps = script.simulate_experiments(400, **{"seeds": 3, **options})
    # 2.576 standard deviations of the share of 400: by chance, 1 in 100 nominal tests is outside.
    margin = 2.576 * (0.05 * 0.95 / 400) ** 0.5
    assert np.mean(ps < 0.05) == pytest.approx(0.05, abs=margin)


def test_a_test_over_sentences_alone_is_not_nominal(script):
    random = np.random.default_rng(5)
    ps = []
    for _ in range(60):
        base = random.normal(2, 2, 150)
        one, other = (script.simulate(random, base, 3, spread=1.5) for _ in range(2))
        ps.append(paired_randomization_test(one, other, draws=300))
    assert np.mean(np.array(ps) < 0.05) > 0.3


def test_differences_are_found_and_more_seeds_find_smaller_ones(script):
    three, five, ten = (
        np.mean(script.simulate_experiments(100, seeds, better=1.5) < 0.05) for seeds in (3, 5, 10)
    )
    assert 0.2 < three < five - 0.1 < ten - 0.2


def test_differences_of_f1_are_compared_as_welch_compared_means():
    # Without sentences of which a system knows more than the other, it is Welch's t-test of seeds.
    one, other = (np.zeros((3, 1000, 3), np.int64) for _ in range(2))
    random = np.random.default_rng(0)
    for system, rights in ((one, (930, 940, 950)), (other, (900, 905, 925))):
        system[..., 1:] = 1
        for seed, right in zip(system, rights, strict=True):
            seed[random.permutation(1000)[:right], 0] = 1
    found = compare_f1(one, other)
    # Variances 1 / 3 and 1.75 / 3 of the means: 3 / sqrt(0.9167) = 3.1333, freedom 3.723.
    assert found.difference == pytest.approx(3)
    assert found.p == pytest.approx(0.03869, abs=0.002)
    assert found.interval == pytest.approx((3 - 2.738, 3 + 2.738), abs=0.05)


def test_interval_and_p_agree_and_a_difference_has_two_directions(script):
    random = np.random.default_rng(1)
    for _ in range(30):
        base = random.normal(2, 2, 80)
        one, other = (
            script.simulate(random, base, 3, better=0.7),
            script.simulate(random, base, 4),
        )
        found, reverse = compare_f1(one, other), compare_f1(other, one)
        low, high = found.interval
        assert (low <= 0 <= high) == (found.p >= 0.05)
        assert found.difference == pytest.approx((low + high) / 2)
        assert found.difference == pytest.approx(mean_f1(one) - mean_f1(other))
        assert reverse.interval == pytest.approx((-high, -low))
        assert reverse.p == pytest.approx(found.p)


def test_one_seed_is_not_tested():
    found = compare_f1(ONE, np.concatenate([OTHER, OTHER]))
    assert found.difference == pytest.approx(mean_f1(ONE) - mean_f1(OTHER))
    assert (found.interval, found.p) == (None, None)


def test_equal_seeds_are_no_certainty():
    # Every seed has one error, by chance in another sentence: those of other seeds may have two.
    one, other = (np.ones((3, 100, 3), np.int64) for _ in range(2))
    one[[0, 1, 2], [5, 50, 95], 0] = 0
    assert 0.05 < compare_f1(one, other).p < 1
    assert compare_f1(other, other).p == 1 and compare_f1(other, other).interval == (0, 0)


def test_student_distribution():
    # Fisher & Yates, Statistical Tables, table III.
    for freedom, level, t in (
        (1, 0.05, 12.706),
        (2, 0.01, 9.925),
        (4, 0.05, 2.776),
        (10, 0.001, 4.587),
        (120, 0.05, 1.980),
    ):
        assert student_quantile(freedom, level) == pytest.approx(t, abs=0.0006)
        assert student_tail(t, freedom) == pytest.approx(level, rel=0.002)
    assert student_tail(0, 3.3) == 1
    assert student_quantile(2, 0.05) > student_quantile(2.5, 0.05) > student_quantile(3, 0.05)


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
