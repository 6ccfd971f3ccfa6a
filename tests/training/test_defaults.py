"""Default batch size, epochs and patience by the number of training sentences."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotfill.config.sections import TrainConfig
from slotfill.training.defaults import resolve_budget


@pytest.mark.parametrize(
    ("sentences", "size", "epochs", "patience"),
    [
        (1, 8, 1000, 333),
        (90, 8, 84, 28),
        (900, 9, 30, 10),
        (1600, 16, 30, 10),
        (3200, 32, 30, 10),
        (30_000, 32, 30, 10),
    ],
)
def test_budget_follows_the_number_of_sentences(sentences, size, epochs, patience):
    budget = resolve_budget(TrainConfig(), sentences)
    assert (budget.batch_size, budget.epochs, budget.patience) == (size, epochs, patience)


def test_config_overrides_the_budget():
    budget = resolve_budget(TrainConfig(batch_size=64, epochs=3, patience=0), 10)
    assert (budget.batch_size, budget.epochs, budget.patience) == (64, 3, 0)
    assert resolve_budget(TrainConfig(batch_size=10), 100).epochs == 100


@given(st.integers(1, 10**6))
def test_budget_has_at_least_1000_steps(sentences):
    budget = resolve_budget(TrainConfig(), sentences)
    assert 8 <= budget.batch_size <= 32
    assert math.ceil(sentences / budget.batch_size) * budget.epochs >= 1000
    assert resolve_budget(TrainConfig(), sentences + 1).epochs <= budget.epochs
