"""docs/confidence.md: its files and commands, as a reader runs them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "confidence.md"
NUMBER = re.compile(r"\d\.\d+")
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def split_numbers(value):
    """Return JSON without its confidences, and these in order; they differ with the processor."""
    numbers = []

    def keep(row):
        numbers.extend(row[key] for key in row if type(row[key]) is float)
        return {key: row[key] for key in row if type(row[key]) is not float}

    return json.loads(value, object_hook=keep), numbers


def test_commands_of_the_page_print_what_it_shows(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    shown = 0
    for info, name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if name:
            Path(name).write_text(text, encoding="utf-8")
        for command in text.split("$ ")[1:] if info == "console" else ():
            line, _, expected = command.partition("\n")
            done = cli(*shlex.split(line)[1:])
            assert done.code == 0, done.err
            if expected.startswith("{"):
                (row, numbers), (expected_row, expected_numbers) = map(
                    split_numbers, (done.out, expected)
                )
                assert row == expected_row
                assert numbers == pytest.approx(expected_numbers, abs=0.03)
                texts = (NUMBER.sub("#", text).rstrip() for text in (done.out, expected))
                assert next(texts) == next(texts)
            elif expected:
                assert done.out == expected
            shown += bool(expected)
    assert shown == 5


def test_training_without_valid_says_that_confidences_are_not_calibrated(desk, cli):
    result = cli("train", "tiny.yaml", "data={train: corpus/train.brackets, holdout: 0}")
    assert "Confidences are not calibrated: there are no valid sentences.\n" in result.out
