"""The systems of the lab have the same budget, and claims are about systems that there are."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def training():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import train_systems
    yield train_systems
    for name in (
        "train_systems",
        "make_systems_docs",
        "make_diagrams",
        "system_claims",
        "measured",
    ):
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


def test_sizes_of_another_network_are_solved_again(training, tmp_path):
    path = tmp_path / "sizes.json"
    path.write_text('{"taipei_hard/elman": 20, "taipei_hard/lstm": 64}', encoding="utf-8")
    sizes = training.Sizes(path)
    assert sizes.find("lstm", "taipei_hard") == 64
    assert sizes.find("elman", "taipei_hard") == training.fit_size("elman", "taipei_hard")


def test_claims_are_about_systems_of_the_lab(training):
    systems = training.list_systems()
    pairs = [(claim.system, claim.other) for claim in sys.modules["system_claims"].CLAIMS]
    assert len(set(pairs)) == len(pairs)
    assert {name for pair in pairs for name in pair} <= set(systems)
    claims = training.list_claims(systems)
    examined = {name for claim in claims for name in (claim.system, claim.other)}
    assert examined == set(systems)


def test_code_may_change_as_long_as_weights_do_not(training, monkeypatch):
    gru, lstm = (SimpleNamespace(name=n, corpus="atis", folder=n, title=n) for n in ("gru", "lstm"))
    depends = {"same": [gru], "shared": [gru, lstm], "cells/gru": [gru]}
    now = {"same": "old", "shared": "new", "cells/gru": "new"}
    monkeypatch.setattr(
        training, "compute_checksums_of_runs", lambda parts: dict.fromkeys(parts, "old")
    )
    monkeypatch.setattr(training, "compute_checksums", lambda patterns: now)
    monkeypatch.setattr(training, "is_reproduced", lambda job: job is lstm)
    assert training.find_reproduced(depends) == ["shared"]
