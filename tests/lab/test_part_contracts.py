"""`slotfill check --contract`: what a user-defined part breaks, in one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

CELL = '''"""Gated cell.

    h_t = f * h_{t-1} + (1 - f) * tanh(x_t W)
"""

import torch
from slotfill.parts import Cell


class Gated(Cell):
    """One gate."""

    gates = ("forget", "candidate")

    def __init__(self, input_size, hidden_size, directions=1):
        super().__init__(input_size, hidden_size, directions)

    def step(self, projected, state):
        (h,) = state
        f, g = (projected + torch.bmm(h, self.recurrent_weight)).split(self.hidden_size, dim=2)
        f, g = f.sigmoid(), g.tanh()
        self.record(forget=f, candidate=g)
        h = f * h + (1 - f) * g
        return h, (h,)
'''
ENCODER = '''"""Encoder."""

from slotfill.parts import Encoder


class Mine(Encoder):
    """Encoder."""

    def __init__(self, input_size, *, scale: float = 2.0):
        super().__init__()
        self.output_size = input_size
        self.scale = scale

    def forward(self, x, lengths):
        return x * self.scale
'''
TAGGER = '''"""Tagger."""

from slotfill.parts import Tagger
from torch import nn


class Mine(Tagger):
    """Tagger.

    scale: factor.
    """

    def __init__(self, input_size, vocab, *, scale: float = 1.0):
        super().__init__()
        self.linear = nn.Linear(input_size, len(vocab.tags))
        self.scale = scale

    def forward(self, hidden, lengths, tags=None):
        return self.linear(hidden - hidden.mean()) * self.scale
'''


@pytest.fixture
def check(tmp_path, monkeypatch, cli):
    """A function that checks the contracts of code, and returns the result of the command."""
    monkeypatch.chdir(tmp_path)

    def run(code, *words):
        Path("mine.py").write_text(code)
        return cli("check", "--contract", "mine.py", *words)

    return run


def test_the_contracts_of_a_correct_part_hold(check):
    result = check(CELL, "--trust")
    lines = result.out.splitlines()
    assert (result.code, result.err, lines[-1]) == (0, "", "mine.py: ok")
    assert "mine.py: cell has independent directions" in lines
    assert "mine.py: network is exported" in lines


@pytest.mark.parametrize(
    ("code", "wrong", "message"),
    [
        (
            CELL.replace("return h, (h,)", "return torch.cat((h, h), 2), (h,)"),
            "cell has the documented shapes",
            "the output of step() must be (1, 2, 6), found (1, 2, 12)",
        ),
        (
            CELL.replace("bmm(h, self", "bmm(h[:, :, 1:], self"),
            "cell has the documented shapes",
            "mine.py:20: step() failed with RuntimeError: ",
        ),
        (
            CELL.replace("h = f * h + (1 - f) * g", "h = f * h + (1 - f) * g.roll(1, 1)"),
            "cell is independent of the batch and of later steps",
            "a sentence depends on the others of the batch",
        ),
        (
            CELL.replace("self.record(forget=f, candidate=g)", "self.record(forget=f)"),
            "cell records its gates",
            "step() must record 'candidate', which `gates` names",
        ),
        (
            CELL.replace("One gate.", "One gate"),
            "part is documented",
            "the class's docstring must begin with a sentence",
        ),
        (
            CELL.replace("g.tanh()", "torch.special.erfcx(g)"),
            "network is exported",
            "cannot be exported, so that torch predicts: there is no ONNX operator for torch's",
        ),
        (ENCODER, "encoder is independent of padding", "the output depends on padding"),
        (ENCODER, "part is documented", "the class's docstring has no line 'scale: ...'"),
        (
            TAGGER,
            "tagger is independent of the batch",
            "the emissions of a sentence depend on the others of the batch",
        ),
    ],
)
def test_a_broken_contract_is_one_line(check, code, wrong, message):
    result = check(code, "--trust")
    lines = [line for line in result.err.splitlines() if f" not: {wrong}: " in line]
    assert result.code == 1 and len(lines) == 1 and message in lines[0]
    assert f"mine.py: {wrong}\n" not in result.out and "mine.py: ok" not in result.out


def test_an_embedding_is_checked_with_its_options(check):
    code = """'''Words.'''
from slotfill.model.embeddings.word import Word


class Mine(Word):
    '''Words.

    scale: factor.
    '''

    def __init__(self, vocab, *, scale: float = 1.0):
        super().__init__(vocab, size=4)
        self.scale = scale

    def forward(self, ids):
        return super().forward(ids) / self.scale
"""
    assert check(code, "--trust").out.endswith("mine.py: ok\n")
    result = check(code, "scale=0.0", "--trust")
    assert "embedding is independent of the batch: the vectors must be finite" in result.err


def test_nothing_is_checked_after_a_wrong_shape(check):
    result = check(CELL.replace("return h, (h,)", "return h[0], (h,)"), "--trust")
    assert (result.out, result.err.count("\n")) == ("", 1)


def test_options_are_set_and_validated(check):
    result = check(TAGGER, "scale=x", "--trust")
    assert result.code == 2
    assert "tagger.scale: must be a number, found 'x'" in result.err
    result = check(TAGGER, "scale=0", "--trust")
    assert (
        "network has the numerical gradient for every parameter: the gradient of embeddings.0"
        in result.err
    )


@pytest.mark.parametrize(
    ("code", "words", "message"),
    [
        (CELL, [], "a user-defined part is Python code, so it was not executed"),
        ('"""X."""\n\n\nclass X:\n    """X."""\n', ["--trust"], "X has no contracts to check"),
        ("class\n", ["--trust"], "mine.py:1: not Python"),
    ],
)
def test_what_cannot_be_checked_is_one_line(check, code, words, message):
    result = check(code, *words)
    assert result.code == 2 and result.err.count("\n") == 1 and message in result.err


def test_a_wrong_shape_in_training_is_one_line(desk, cli):
    Path("mine.py").write_text(CELL.replace("bmm(h, self", "bmm(h[:, :, 1:], self"))
    words = ["train", "tiny.yaml", "encoder.cell=./mine.py", "--device", "cpu", "--trust"]
    result = cli(*words)
    assert result.code == 1
    (line,) = (line for line in result.err.splitlines() if "failed with" in line)
    file = Path("mine.py").resolve()
    assert line.startswith(f"slotfill: {file}:20: step() failed with RuntimeError: ")
    assert "slotfill check --contract" in line and "Traceback" not in result.err
