"""Values of slots and what they stand for."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from slotfill.data.formats.jsonl import Jsonl
from slotfill.data.resolution import Resolver
from slotfill.data.sentence import Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import UsageError

NOW = datetime(2026, 11, 27, 9, 0)  # A Friday.


def resolve(value, kind="", synonyms=None, language="en", now=NOW):
    """What the only slot of a sentence, `value`, stands for."""
    sentence = Tokenizer().tokenize(value)
    sentence.slots = [Slot("slot", 0, len(sentence.tokens))]
    kinds = {"slot": kind} if kind else {}
    resolver = Resolver({"slot": synonyms or {}}, kinds, language, now)
    (resolved,) = resolver.resolve(sentence)
    return resolved


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("2026-12-24", "date", "2026-12-24"),
        ("tomorrow", "date", "2026-11-28"),
        ("tomorrow morning", "date", "2026-11-28"),
        ("monday", "date", "2026-11-30"),
        # The next one, not the last.
        ("november 2nd", "date", "2027-11-02"),
        ("december 2nd", "date", "2026-12-02"),
        # No day is named.
        ("november", "date", None),
        ("next week", "date", None),
        ("7 p.m.", "time", "19:00"),
        ("noon", "time", "12:00"),
        ("in two hours", "time", "11:00"),
        ("11:30", "time", "11:30"),
        ("tomorrow", "time", None),
        ("tomorrow at 7 pm", "datetime", "2026-11-28T19:00"),
        ("tomorrow", "datetime", "2026-11-28"),
        ("cheap", "datetime", None),
        ("2", "number", "2"),
        ("2.5", "number", "2.5"),
        ("1,200", "number", "1200"),
        ("Twenty five", "number", "25"),
        ("two hundred and six", "number", "206"),
        ("a few", "number", None),
    ],
)
def test_dates_times_and_numbers(value, kind, expected):
    assert resolve(value, kind) == expected


def test_other_languages():
    assert resolve("morgen", "date", language="de") == "2026-11-28"
    assert resolve("zweihundert", "number", language="de") == "200"
    assert resolve("明天", "date", language="zh") == "2026-11-28"


def test_dates_are_relative_to_now_alone():
    assert resolve("tomorrow", "date", now=datetime(2000, 2, 28)) == "2000-02-29"


def test_synonyms_before_kinds_and_without_case():
    synonyms = {"tpe": "Taipei", "new york": "NYC", "tomorrow": "soon"}
    assert resolve("TPE", synonyms=synonyms) == "Taipei"
    assert resolve("New  York", synonyms=synonyms) == "NYC"
    assert resolve("Oslo", synonyms=synonyms) is None
    assert resolve("tomorrow", "date", synonyms) == "soon"
    assert resolve("monday", "date", synonyms) == "2026-11-30"


def test_threads_get_the_same_dates():
    values = [f"november {day}" for day in range(1, 29)] * 4
    resolver = Resolver({}, {"slot": "date"}, "en", NOW)

    def one(value):
        sentence = Tokenizer().tokenize(value)
        sentence.slots = [Slot("slot", 0, len(sentence.tokens))]
        return resolver.resolve(sentence)[0]

    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(one, values))
    assert (
        found == [f"2027-11-{day:02}" if day < 28 else f"2026-11-{day}" for day in range(1, 29)] * 4
    )


@pytest.mark.parametrize(("kind", "library"), [("date", "dateparser"), ("number", "text2num")])
def test_missing_library_is_named(kind, library, monkeypatch):
    for module in ("dateparser.date", "text_to_num"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as error:
        Resolver({}, {"slot": kind}, "en", NOW)
    assert str(error.value) == f"resolve needs {library}: pip install 'slotfill[values]'"


def test_json_lines_have_what_is_resolved():
    sentence = Tokenizer().tokenize('TPE to "X"')
    sentence.slots = [Slot("city", 0, 1), Slot("city", 3, 4)]
    sentence.resolved = ['Tai"pei', None]
    first, second = json.loads(Jsonl().render(sentence, scheme="iob2"))["slots"]
    assert first == {"name": "city", "value": "TPE", "resolved": 'Tai"pei', "start": 0, "end": 3}
    assert "resolved" not in second
