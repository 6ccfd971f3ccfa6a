"""docs/values.md: its files and commands, as a reader runs them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "values.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_commands_of_the_page_print_what_it_shows(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    for info, name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if name:
            Path(name).write_text(text, encoding="utf-8")
        if info != "console":
            continue
        for command in text.replace("\\\n", "").split("$ ")[1:]:
            line, _, expected = command.partition("\n")
            done = cli(*shlex.split(line)[1:])
            assert done.code == 0, done.err
            if expected:
                assert done.out == expected


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_run_needs_its_lists_no_more(engine, desk, cli):
    Path("cities.txt").write_text("Taipei\nBuenos Aires\n")
    options = ["embedding=[{name: word, size: 8}, {name: gazetteer, lists: [cities.txt]}]"]
    assert cli("train", "tiny.yaml", *options, "--out", "runs/a").code == 0
    Path("cities.txt").unlink()
    done = cli("predict", "runs/a", "--engine", engine, "fly from Oslo to Buenos Aires")
    assert done.code == 0 and '"value": "Buenos Aires"' in done.out


def test_missing_list_is_reported_with_its_line(desk, cli):
    Path("own.yaml").write_text(
        "data: {path: corpus}\nembedding:\n  - word\n"
        "  - name: gazetteer\n    lists: [cities.txt, towns.txt]\n"
    )
    Path("cities.txt").write_text("Taipei\n")
    done = cli("check", "own.yaml")
    assert done.code == 2
    assert done.err == (
        "slotfill: own.yaml:5: embedding.1.lists.1: there is no file towns.txt; did you mean"
        " 'cities.txt'?\n"
    )
