"""The scenarios of benchmarks/load.py, in their smallest size."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import conftest
import pytest

before = [*sys.path]
sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
load = import_module("load")
sys.path[:] = before  # Other tests would find its modules, and those that it imports.


def test_each_sentence_of_a_stream_gets_its_own_answer(trained, monkeypatch):
    monkeypatch.setattr(load, "start", conftest.start)
    figures = load.main(["stream", "--quick", "--run", str(trained), "--sentences", "1500"])
    assert figures["stream"]["failures"] == 0
    assert figures["stream"]["peak_mb"] > 0


@pytest.mark.slow
def test_no_load_gives_a_failure():
    assert not any(figures["failures"] for figures in load.main(["all", "--quick"]).values())
