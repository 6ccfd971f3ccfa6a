"""How many sentences a step has and how long training goes on, where the config does not say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotfill.config.models import TrainConfig
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
def test_what_suits_a_number_of_sentences(sentences, size, epochs, patience):
    pace = resolve_budget(TrainConfig(), sentences)
    assert (pace.batch_size, pace.epochs, pace.patience) == (size, epochs, patience)


def test_what_the_config_says_is_kept():
    pace = resolve_budget(TrainConfig(batch_size=64, epochs=3, patience=0), 10)
    assert (pace.batch_size, pace.epochs, pace.patience) == (64, 3, 0)
    assert resolve_budget(TrainConfig(batch_size=10), 100).epochs == 100


@given(st.integers(1, 10**6))
def test_never_too_few_steps(sentences):
    pace = resolve_budget(TrainConfig(), sentences)
    assert 8 <= pace.batch_size <= 32
    assert math.ceil(sentences / pace.batch_size) * pace.epochs >= 1000
    assert resolve_budget(TrainConfig(), sentences + 1).epochs <= pace.epochs
