"""The diagrams of scripts/diagrams.txt: as drawn, joined, and of parts that there are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from slotfill.config.registry import CELLS, ENCODERS, TAGGERS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import make_diagrams

    yield make_diagrams
    sys.modules.pop("make_diagrams")


def test_pictures_are_those_of_the_text(script):
    diagrams = script.read_diagrams()
    assert {*(ROOT / "docs" / "cells").iterdir()} <= {
        ROOT / "docs" / each.name for each in diagrams
    }
    for diagram in diagrams:
        path = ROOT / "docs" / diagram.name
        assert path.read_text(encoding="utf-8") == diagram.render(), "run scripts/make_diagrams.py"
        assert [*diagram.loose_ends()] == []


def test_cells_have_a_diagram_with_their_gates(script):
    parts = {diagram.part for diagram in script.read_diagrams()} - {""}
    assert parts <= {*CELLS.names(), *ENCODERS.names(), *TAGGERS.names()}
    assert {*CELLS.names()} <= parts
    (lstm,) = (each for each in script.read_diagrams() if each.name == "cells/lstm.svg")
    labels = re.findall(r">([fiog])</text>", lstm.render())
    assert sorted(labels) == ["f", "g", "i", "o"]


def test_chinese_diagrams_have_no_english_words(script):
    chinese = [each for each in script.read_diagrams() if each.words]
    assert {Path(each.name).stem for each in chinese} >= {"unrolled", "conveyor", "lstm_lecture"}
    for diagram in chinese:
        assert not re.search(r">[^<]*[A-Za-z]{2}[^<]*</text>", diagram.render())


def test_lines_that_lead_nowhere_are_named(script):
    diagram = script.Diagram("cells/x.svg", "x", ["h ──┬──[ f ]──▶ y", "   │", "   x"])
    (mistake, other) = diagram.loose_ends()
    assert mistake == "cells/x.svg, row 1, column 5: down of ┬ is nothing"
    assert other == "cells/x.svg, row 2, column 4: up of │ is nothing"
