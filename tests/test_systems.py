"""The systems of the lab have the same budget, and claims are about systems that there are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import train_systems

    yield train_systems
    for name in ("train_systems", "system_claims", "measured"):
        sys.modules.pop(name, None)


def test_every_system_has_a_size_that_its_parameters_are_fitted_by(training):
    assert [name for name in training.list_systems() if not training.size_keys(name)] == []
    assert training.list_systems()[0] == training.FIRST


def test_systems_have_equal_parameters(training):
    corpus = "taipei_hard"
    budget = training.count_parameters("lstm", corpus, training.LSTM_SIZE)
    for system in ("elman", "jordan"):
        size = training.fit_size(system, corpus)
        assert training.count_parameters(system, corpus, size) == pytest.approx(budget, rel=0.02)


def test_claims_are_about_systems_of_the_lab(training):
    from system_claims import CLAIMS

    systems = training.list_systems()
    pairs = [(claim.system, claim.other) for claim in CLAIMS]
    assert len(set(pairs)) == len(pairs)
    assert {name for pair in pairs for name in pair} <= set(systems)
    claims = training.list_claims(systems)
    examined = {name for claim in claims for name in (claim.system, claim.other)}
    assert examined == set(systems)
