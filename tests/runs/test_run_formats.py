"""A small run of each released run format is read, and predicts what it did when it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.runs.manifest import FILES, RunFiles
from slotfill.runs.predict import Predictor
from slotfill.version import FORMAT

RUNS = sorted(Path(__file__).with_name("formats").iterdir())


def test_there_is_a_run_of_the_current_format():
    assert str(FORMAT) in [run.name for run in RUNS]


@pytest.mark.parametrize("engine", ["onnx", "torch"])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_run_of_an_earlier_format_predicts_the_same(run, engine):
    files = RunFiles(run)
    assert all(files[name] for name in FILES if files.has(name))
    expected = json.loads((run / "expected.json").read_text(encoding="utf-8"))
    for text, slots in expected.items():
        (prediction,) = Predictor.load(run, engine=engine).predict([text])
        assert [(slot.name, slot.value) for slot in prediction.slots] == [
            (name, value) for name, value, _ in slots
        ]
        confidences = [slot.confidence for slot in prediction.slots]
        assert confidences == pytest.approx([each for *_, each in slots], abs=1e-5)
