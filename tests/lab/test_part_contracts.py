"""`slotfill check --contract`: what a user-defined part breaks, in one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from slotfill.config.registry import trust_external_parts, user_part
from slotfill.lab.contracts.networks import network_is_exported
from slotfill.lab.contracts.parts import part_has_keyword_only_options
from slotfill.lab.contracts.requirements import ContractError

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
TAGGER_OF_OTHER_TAGS = TAGGER.replace("len(vocab.tags)", "len(vocab.tags) + 1").replace(
    "self.scale = scale", "self.scale, self.linear.bias.data[-1] = scale, 9"
)


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
            CELL.replace("g.tanh()", "torch.special.i0e(g)"),
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
    lines = [line for line in result.err.splitlines() if f": FAILED {wrong}: " in line]
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
    assert (
        "FAILED embedding has the documented shapes: the vectors are not finite; the" in result.err
    )
    assert "mine.py:16: forward()\n" in result.err


def returned(results, code=CELL):
    return code.replace("return h, (h,)", results)


INTENT = """'''Mean.'''
from slotfill.model.intents.mean import Mean


class Mine(Mean):
    '''Mean.'''

    def pool(self, hidden, mask):
        return hidden
"""
GENERATOR = """'''Generator.'''
from slotfill.parts import Generator


class Mine(Generator):
    '''Generator.'''

    def __init__(self, vocab):
        super().__init__(vocab, 4, 4, 0.0)

    def terms(self, symbols, lengths):
        return self.embed(symbols)
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (returned("return h[0], (h,)"), "the output of step() must be (1, 2, 6), found (2, 6)"),
        (
            returned("return h / 0, (h,)"),
            "the output of step() is not finite; the first inf comes from {file}:24: step()",
        ),
        (
            CELL.replace("g.tanh()", "(3 * g).erfinv()"),
            "the output of step() is not finite; the first nan comes from {file}:21: step()",
        ),
        (returned("return h.double(), (h,)"), "output of step() must be float32, found float64"),
        (returned("return h.float(), (h,)"), "output of step() must be float64, found float32"),
        (returned("return h, (h.double(),)"), "state of step() must be float32, found float64"),
        (
            returned("return h.detach(), (h,)"),
            "the output of step() has no gradient: requires_grad",
        ),
        (returned("return h, (h.detach(),)"), "the next state of step() has no gradient"),
        (returned("return h"), "step() must return the output and the next state, found Tensor"),
        (returned("pass"), "step() must return the output and the next state, found NoneType"),
        (returned("return h, h"), "the next state of step() must be a tuple of tensors, as (h,)"),
        (CELL.replace("projected, state)", "x)", 1), "step() must take projected and state"),
        (
            CELL.replace("(self, input_size, hidden_size, directions=1)", "(self, *, a: int = 1)"),
            "__init__ must take input_size, hidden_size, directions, found none; options are",
        ),
        (ENCODER.replace("return x * self", "return x, self"), "(5, 7, 2), found tuple"),
        (ENCODER.replace("x, lengths)", "x)", 1), "forward() must take x and lengths"),
        (ENCODER.replace("output_size =", "size ="), "__init__ must set self.output_size, an int"),
        (TAGGER.replace(", tags=None", ""), "forward() must take hidden, lengths and tags=None"),
        (INTENT, "the output of pool() must be (6, 4), found (6, 9, 2)"),
        (GENERATOR, "terms() must return Terms, found Tensor"),
        (CELL.replace("(h,) = state", "raise SystemExit(5)"), "step() failed with SystemExit: 5"),
    ],
)
def test_nothing_is_checked_after_a_wrong_result(check, code, message):
    result = check(code, "--trust")
    message = message.format(file=Path("mine.py").resolve())
    assert (result.code, result.err.count("\n")) == (1, 1) and message in result.err, result.err
    assert result.out in ("", "mine.py: part has keyword only options\n")


def test_an_option_must_be_keyword_only(tmp_path):
    (tmp_path / "mine.py").write_text(CELL.replace("directions=1", "directions=1, scale=1.0"))
    with trust_external_parts(), pytest.raises(ContractError) as error:
        part_has_keyword_only_options(user_part(str(tmp_path / "mine.py")))
    arguments = "self, input_size, hidden_size, directions, *, scale"
    assert str(error.value) == f"the option 'scale' must be keyword-only, as __init__({arguments})"


@pytest.mark.parametrize("condition", ["h.sum() > 1e9", "h.mean().item() > 9", "9 in h"])
def test_a_branch_on_the_values_of_a_tensor_is_not_exported(tmp_path, condition):
    code = returned(f"h = -h if {condition} else h\n        return h, (h,)")
    (tmp_path / "mine.py").write_text(code)
    cell = {"name": str(tmp_path / "mine.py")}
    parts = [["word"], {"name": "recurrent", "hidden_size": 4, "cell": cell}, "softmax"]
    with trust_external_parts(), pytest.raises(ContractError) as error:
        network_is_exported(parts)
    assert "it reads the values of a tensor by " in str(error.value)
    assert str(error.value).endswith("mine.py:24: step()")


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
        (CELL, ["."], ". is a folder; a user-defined part is a file, as ./my_cell.py"),
        (CELL, ["gru"], "there is no file gru; the cell gru is built in and needs no check"),
    ],
)
def test_what_cannot_be_checked_is_one_line(check, code, words, message):
    result = check(code, *words, *["--trust"] * (words[:1] in (["."], ["gru"])))
    assert result.code == 2 and result.err.count("\n") == 1 and message in result.err


@pytest.mark.parametrize(
    ("code", "exit_code", "message"),
    [
        (
            CELL.replace("bmm(h, self", "bmm(h[:, :, 1:], self"),
            1,
            "slotfill: {file}:20: step() failed with RuntimeError: ",
        ),
        (
            CELL.replace("(h,) = state", "raise SystemExit(5)"),
            1,
            "slotfill: {file}:19: step() failed with SystemExit: 5; slotfill check --contract FILE",
        ),
        (f"{CELL}\nexit(5)", 1, "slotfill: {file}:26: running it failed with SystemExit: 5"),
        (
            returned("return h"),
            1,
            "slotfill: {file}: step() must return the output and the next state, found Tensor; s",
        ),
        (
            CELL.replace("(self, input_size, hidden_size, directions=1)", "(self)"),
            2,
            "slotfill: command line: encoder.cell: {file}:15: __init__ must take input_size, h",
        ),
    ],
)
def test_a_broken_part_in_training_is_one_line(desk, cli, code, exit_code, message):
    Path("mine.py").write_text(code)
    words = ["train", "tiny.yaml", "encoder.cell=./mine.py", "--device", "cpu", "--trust"]
    result = cli(*words)
    message = message.format(file=Path("mine.py").resolve())
    assert (result.code, result.err.count("\n")) == (exit_code, 1), result.err
    assert result.err.startswith(message), result.err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            CELL.replace("h = f * h + (1 - f) * g", "h = f * h + f.neg_().add_(1) * g"),
            "{file}: its network failed with RuntimeError: one of the variables needed for gra",
        ),
        (
            ENCODER.replace("return x * self.scale", "return (x * self.scale)[:, 1:]"),
            "{file}: the output of forward() must be (5, 7, 2), found (5, 6, 2)",
        ),
        (
            TAGGER_OF_OTHER_TAGS,
            "{file}: the emissions must be (6, 9, 9), found (6, 9, 10)",
        ),
        (CELL.partition("    def step")[0], "{file}: step() must be defined"),
    ],
)
def test_an_error_elsewhere_names_the_part_that_led_to_it(desk, cli, code, message):
    Path("mine.py").write_text(code)
    key = next((key for key in ("encoder", "tagger") if f"({key.title()})" in code), "")
    part = [f"{key or 'encoder.cell'}=./mine.py", "--device", "cpu", "--trust"]
    result = cli("train", "tiny.yaml", *part)
    message = message.format(file=Path("mine.py").resolve())
    assert (result.code, result.err.count("\n")) == (1, 1), result.err
    assert result.err.startswith(f"slotfill: {message}"), result.err
    compared = cli("compare", "tiny.yaml", *part, "--seeds", "1")
    assert compared.code == 1 and f"failed: {message}" in compared.out + compared.err


def test_an_error_of_slotfill_is_not_that_of_a_part(desk, cli, monkeypatch):
    def fail(result):
        raise KeyError("a bug")

    Path("mine.py").write_text(CELL)
    monkeypatch.setattr("slotfill.cli.display.print_result", fail)
    words = ["train", "tiny.yaml", "encoder.cell=./mine.py", "train.epochs=1", "--trust"]
    with pytest.raises(KeyError, match="a bug"):
        cli(*words, "--device", "cpu")
