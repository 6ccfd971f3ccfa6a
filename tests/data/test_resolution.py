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


def resolve(value, kind="", synonyms=None, language="en", now=NOW, order=None):
    """What the only slot of a sentence, `value`, stands for."""
    sentence = Tokenizer().tokenize(value)
    sentence.slots = [Slot("slot", 0, len(sentence.tokens))]
    kinds = {"slot": kind} if kind else {}
    resolver = Resolver({"slot": synonyms or {}}, kinds, language, now, order)
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
        ("in two weeks", "date", "2026-12-11"),
        ("in a week", "date", "2026-12-04"),
        ("the second of november", "date", "2027-11-02"),
        # No day is named.
        ("november", "date", None),
        ("next week", "date", None),
        ("This week", "date", None),
        ("7 p.m.", "time", "19:00"),
        ("noon", "time", "12:00"),
        ("in two hours", "time", "11:00"),
        ("11:30", "time", "11:30"),
        ("tomorrow", "time", None),
        ("tomorrow morning", "time", None),
        ("in half an hour", "time", "09:30"),
        ("half past three", "time", "03:30"),
        ("Half past three pm", "time", "15:30"),
        ("a quarter to one", "time", "12:45"),
        ("twenty past six", "time", "06:20"),
        ("ten minutes to one", "time", "12:50"),
        ("five o’clock", "time", "05:00"),
        # Rather a period.
        ("five to seven", "time", None),
        ("tomorrow at half past seven pm", "datetime", "2026-11-28T19:30"),
        ("tomorrow morning", "datetime", "2026-11-28"),
        ("tomorrow at 7 pm", "datetime", "2026-11-28T19:00"),
        ("tomorrow", "datetime", "2026-11-28"),
        ("cheap", "datetime", None),
        ("2", "number", "2"),
        ("2.5", "number", "2.5"),
        ("1,200", "number", "1200"),
        ("Twenty five", "number", "25"),
        ("two hundred and six", "number", "206"),
        ("a hundred", "number", "100"),
        ("two point five", "number", "2.5"),
        ("a few", "number", None),
        ("seven or eight", "number", None),
    ],
)
def test_dates_times_and_numbers(value, kind, expected):
    assert resolve(value, kind) == expected


def test_other_languages():
    assert resolve("morgen", "date", language="de") == "2026-11-28"
    assert resolve("zweihundert", "number", language="de") == "200"
    assert resolve("明天", "date", language="zh") == "2026-11-28"


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("二十五", "number", "25"),
        ("兩百零五", "number", "205"),
        ("十", "number", "10"),
        ("一萬二千三百四十五", "number", "12345"),
        ("一亿两千万", "number", "120000000"),
        ("二五", "number", "25"),
        ("三点五", "number", "3.5"),
        ("12", "number", "12"),
        ("几", "number", None),
        ("三点半", "time", "03:30"),
        ("下午三點二十分", "time", "15:20"),
        ("两个小时后", "time", "11:00"),
        ("半小時後", "time", "09:30"),
        ("十二月二十四日", "date", "2026-12-24"),
        ("3/4", "date", "2027-03-04"),
        ("兩週後", "date", "2026-12-11"),
        ("星期一", "date", "2026-11-30"),
        ("下周", "date", None),
        ("明天下午三点", "datetime", "2026-11-28T15:00"),
    ],
)
def test_chinese(value, kind, expected):
    assert resolve(value, kind, language="zh") == expected


@pytest.mark.parametrize(
    ("value", "language", "order", "expected"),
    [
        ("03/04", "en", None, "2027-03-04"),
        ("03/04", "en", "DMY", "2027-04-03"),
        ("03/04/2028", "en", None, "2028-03-04"),
        ("03/04/2028", "en", "DMY", "2028-04-03"),
        ("03/04/2028", "zh", None, "2028-03-04"),
        ("03.04.", "de", None, "2027-04-03"),
        ("3.4", "de", "MDY", "2027-03-04"),
        ("03.04.2028", "de", None, "2028-04-03"),
        # Only one order gives a date.
        ("25/12", "en", None, "2026-12-25"),
        ("12/25", "de", None, "2026-12-25"),
        ("31/2", "en", None, None),
        # The next one, today included.
        ("11/27", "en", None, "2026-11-27"),
        ("11/26", "en", None, "2027-11-26"),
        ("2/29", "en", None, "2028-02-29"),
    ],
)
def test_the_order_of_day_and_month_is_that_of_the_language_or_as_set(
    value, language, order, expected
):
    assert resolve(value, "date", language=language, order=order) == expected


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
    install = "pip install 'slotfill[values]'"
    assert str(error.value) == f"resolve needs {library}; install it with: {install}"


def test_json_lines_have_what_is_resolved():
    sentence = Tokenizer().tokenize('TPE to "X"')
    sentence.slots = [Slot("city", 0, 1), Slot("city", 3, 4)]
    sentence.resolved = ['Tai"pei', None]
    first, second = json.loads(Jsonl().render(sentence, scheme="iob2"))["slots"]
    assert first == {"name": "city", "value": "TPE", "resolved": 'Tai"pei', "start": 0, "end": 3}
    assert "resolved" not in second
