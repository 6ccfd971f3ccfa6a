"""Prediction on a run: copies of a predictor, forks, threads, and sentences that are too long."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import threading

import pytest
import torch

from slotfill.data.sentence import MAX_CHARACTERS, MAX_TOKENS
from slotfill.errors import DataError
from slotfill.runs.predict import Predictor

TEXTS = ["leave Oslo", "arrive Paris please"]
ENGINES = pytest.mark.parametrize("engine", ["onnx", "torch"])


@ENGINES
def test_a_copied_predictor_predicts_the_same(trained, engine):
    predictor = Predictor.load(trained, engine=engine)
    expected = predictor.predict(TEXTS)
    for copied in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        assert copied is not predictor
        assert copied.predict(TEXTS) == expected
    assert predictor.predict(TEXTS) == expected


def test_a_pickled_predictor_opens_its_run_from_any_folder(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.parent)
    data = pickle.dumps(Predictor.load(trained.name, engine="onnx"))
    monkeypatch.chdir(tmp_path)
    assert len(pickle.loads(data).predict(TEXTS)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_predicts_after_loading(trained):
    """In a separate process, since a test runner may have threads."""
    program = f"""
import os
from slotfill.runs.predict import Predictor
for engine in ("onnx", "torch"):
    predictor = Predictor.load({str(trained)!r}, engine=engine)
    expected = predictor.predict({TEXTS!r})
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(predictor.predict({TEXTS!r}) != expected)
        children.append(child)
    assert not any(os.waitpid(child, 0)[1] for child in children)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=120)


def test_sentences_on_the_command_line_start_no_thread(trained, cli, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
    assert cli("predict", trained, *TEXTS, "--engine", "onnx").code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("to " * (MAX_TOKENS + 1), "a sentence of 20,001 tokens; at most 20,000 are allowed"),
        ("x" * (MAX_CHARACTERS + 1), "a sentence of 1,000,001 characters; at most 1,000,000 are"),
    ],
    ids=["tokens", "characters"],
)
def test_a_sentence_that_is_too_long_is_refused_in_one_line(trained, cli, tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        Predictor.load(trained).predict([text])
    file = tmp_path / "long.txt"
    file.write_text(f"go\n{text}\ngo\n")
    refused = cli("predict", trained, "--input", file)
    assert (refused.code, refused.out.count("\n"), refused.err.count("\n")) == (3, 1, 1)
    line = "a line of more than 1,000,000 characters; give one sentence a line"
    assert f"{file}:2: {message if ' ' in text else line}" in refused.err


@ENGINES
def test_the_longest_sentence_that_is_allowed(trained, engine):
    (prediction,) = Predictor.load(trained, engine=engine).predict(["to " * MAX_TOKENS])
    assert len(prediction.text) == 3 * MAX_TOKENS


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e7, 1e20])
def test_predictions_of_a_diverged_network_have_the_confidence_0(scale, trained):
    predictor = Predictor.load(trained, engine="torch", nbest=2)
    with torch.no_grad():
        for weight in predictor.run.engine.parameters():
            weight.mul_(scale)
    line = "".join(predictor.render_stream(["leave Oslo for New York"], "jsonl"))
    row = json.loads(line, parse_constant=pytest.fail)
    assert row["text"] == "leave Oslo for New York"
    assert {row["confidence"], *(slot["confidence"] for slot in row["slots"])} == {0}
