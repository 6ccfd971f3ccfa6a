"""A tokenizer of the user's, given as one file: the example of docs/formats.md, and wrong ones."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.config.registry import trust_external_parts
from slotfill.data.tokenizers import TOKENIZERS, Tokenizer
from slotfill.errors import ConfigError, UsageError

ROOT = Path(__file__).parents[2]
EXAMPLE = re.findall(
    r"```python units\.py\n(.*?)```", (ROOT / "docs/formats.md").read_text(encoding="utf-8"), re.S
)[0]
RECIPES = """add [20](amount)[kg](unit) of [flour](food)
take [5](amount)[g](unit) of [salt](food), please
[3](amount)[l](unit) of [milk](food)
mix [2](amount)[kg](unit) of [rice](food)
""" * 5  # fmt: skip
ANY_TEXT = st.text(max_size=40) | st.text(
    "a1_'.,: क्\u200d\u200c\u0301👋🏽🇹ी漢か\ufeff\tก", max_size=24
)


@pytest.fixture(scope="module")
def custom(tmp_path_factory):
    """A function that returns the tokenizer of a class with a body."""
    folder = tmp_path_factory.mktemp("tokenizers")

    def build(code):
        path = folder / f"t{len(list(folder.iterdir()))}.py"
        path.write_text(code, encoding="utf-8")
        with trust_external_parts():
            return Tokenizer(str(path))

    return build


def splitting(body):
    return f"class Mine:\n    def split(self, text):\n        {body}\n"


@pytest.fixture(scope="module")
def units(custom):
    return custom(EXAMPLE)


def test_the_example_of_the_documentation_trains_and_predicts(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("units.py").write_text(EXAMPLE)
    Path("recipes.brackets").write_text(RECIPES)
    words = ["train", "data.path=recipes.brackets", "data.tokenizer=./units.py", "--out", "run"]
    words += ["train.epochs=15", "data.holdout=0"]
    refused = cli(*words)
    assert refused.code == 2 and "add --trust" in refused.err and not Path("run").exists()
    assert cli(*words, "--trust").code == 0
    text = "🛫 add 20kg of flour"
    assert "add --trust" in cli("predict", "run", text).err
    for more in ((), ("--jobs", "2")):
        result = cli("predict", "run", text, "--trust", *more)
        slots = json.loads(result.out)["slots"]
        assert [(slot["name"], slot["value"], slot["start"], slot["end"]) for slot in slots] == [
            ("amount", "20", 6, 8),
            ("unit", "kg", 8, 10),
            ("food", "flour", 14, 19),
        ]
    Path("units.py").unlink()
    missing = cli("predict", "run", text, "--trust")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "there is no file" in missing.err


@given(text=ANY_TEXT)
@settings(max_examples=75, derandomize=True)
def test_offsets_are_those_of_the_text_and_only_spaces_are_lost(units, text):
    sentence = units.tokenize(text, "place")
    end = 0
    for first, last in [*sentence.offsets, (len(text), len(text))]:
        assert end <= first <= last
        assert not text[end:first].strip(" \u200b\ufeff\t\n\r\f\v").strip()
        end = last
    assert (sentence.text, sentence.slots, len(sentence.tokens)) == (
        text,
        None,
        len(sentence.offsets),
    )
    assert sentence.tokens == [units.normalize(form) for form in sentence.surface_forms]
    assert all(sentence.tokens)


@given(text=ANY_TEXT, cuts=st.lists(st.integers(0, 40)))
@settings(max_examples=75, derandomize=True)
def test_offsets_at_any_place_are_kept(custom_cuts, text, cuts):
    cuts = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    custom_cuts._custom.cuts = cuts
    offsets = custom_cuts.tokenize(text).offsets
    for pair in pairwise(cuts):
        assert pair in offsets or not text[slice(*pair)].strip("\u200b\ufeff").strip()


@pytest.fixture(scope="module")
def custom_cuts(custom):
    return custom(splitting("return list(zip(self.cuts, self.cuts[1:]))"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [(0, 99)]", "returned (0, 99) after 0, in a text of 5 characters; tokens are in"),
        ("return [(-1, 2)]", "returned (-1, 2) after 0"),
        ("return [(3, 2)]", "returned (3, 2) after 0"),
        ("return [(2, 3), (0, 1)]", "returned (0, 1) after 3, in a text of 5 characters"),
        ("return [(0, 3), (2, 5)]", "returned (2, 5) after 3, in a text of 5 characters"),
        ("return []", "returned no token, though the text has letters"),
        ("return iter(())", "returned no token, though the text has letters"),
        ("return text.split()", "returned ['ab', 'cd']; tokens are pairs of integers, as [(0, 3)"),
        ("return [(0.0, 2.0)]", "returned [(0.0, 2.0)]; tokens are pairs of integers"),
        ("return [('0', '2')]", "returned [('0', '2')]; tokens are pairs of integers"),
        ("return [(0, 2, 'ab')]", "returned [(0, 2, 'ab')]; tokens are pairs of integers"),
        ("return (pair for pair in [0, 2])", "returned [0, 2]; tokens are pairs of integers"),
        ("return None", "returned None; tokens are pairs of integers"),
        ("return 1 / 0", "failed with ZeroDivisionError: division by zero"),
        ("yield 1 / 0", "failed with ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_tokenizer_does_wrong_is_named(body, message, custom):
    with pytest.raises(ConfigError) as error:
        custom(splitting(body)).tokenize("ab cd")
    assert f".py: Mine.split('ab cd') {message}" in str(error.value)
    assert str(error.value).startswith("data.tokenizer: ")


def test_texts_without_letters_may_have_no_token_of_a_tokenizer(custom):
    nothing = custom(splitting("return []"))
    for text in ("", " ", "?!", "3 4"):
        assert nothing.tokenize(text).surface_forms == text.split()


def test_commands_blame_the_tokenizer_and_not_the_data(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipes.brackets").write_text(RECIPES)
    Path("none.py").write_text(splitting("return []"))
    Path("whole.py").write_text(splitting("return [(0, len(text))]"))
    init = "    def __init__(self):\n        self.x = 1 / 0\n"
    Path("broken.py").write_text(splitting("return []") + init)
    text = "add 20kg of flour"
    for command in ("check", "data", "train"):
        words = ["data.path=recipes.brackets", "data.tokenizer=./none.py", "--trust"]
        result = cli(command, *words, *(["--out", "run"] if command == "train" else []))
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert f" none.py: Mine.split({text!r}) returned no token" in result.err
    words = ["check", "data.path=recipes.brackets", "data.tokenizer=./whole.py", "--trust"]
    refused = cli(*words)
    assert refused.code == 3 and f"the token {text!r}; correct the slot" in refused.err
    assert ", or correct whole.py, which gives the tokens\n" in refused.err
    words[2] = "data.tokenizer=./broken.py"
    broken = cli(*words)
    assert broken.code == 2 and "Mine() failed with ZeroDivisionError" in broken.err


def test_a_file_without_a_tokenizer_is_refused(custom, cli, tmp_path):
    with pytest.raises(ConfigError, match=r"its class has no method split\(text\)"):
        custom("class Mine:\n    pass\n")
    with pytest.raises(ConfigError, match=r"one public class, this one has 0"):
        custom("x = 1\n")
    with pytest.raises(ConfigError, match=r"there is no file none\.py"):
        Tokenizer("none.py")
    with pytest.raises(UsageError, match="unknown tokenizer 'none'"):
        Tokenizer("none")
    result = cli("check", "taipei", "data.tokenizer=./nnn.py")
    assert result.code == 2 and "there is no file ./nnn.py" in result.err
    result = cli("check", "taipei", "data.tokenizer=word")
    assert "did you mean 'words'" in result.err and all(name in result.err for name in TOKENIZERS)
    Path(tmp_path, "open.py").write_text("class Mine(\n")
    result = cli("check", "taipei", f"data.tokenizer={tmp_path}/open.py", "--trust")
    assert result.code == 2 and "open.py:1: not Python: '(' was never closed\n" in result.err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [(0, 0), (0, len(text))]", r"returned \(0, 0\); a token has at least one char"),
        ("return [(0, True), (1, 3)]", r"returned \[\(0, True\), .* tokens are pairs of integers"),
        ("raise SystemExit(5)", "failed with SystemExit: 5"),
    ],
)
def test_no_exit_no_empty_token_and_no_truth_value_is_accepted(body, message, custom):
    with pytest.raises(ConfigError, match=message):
        custom(splitting(body)).tokenize("fly")
