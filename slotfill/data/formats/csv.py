"""CSV and TSV: a row for each sentence, under a header that names the columns.

    text,slots,intent
    fly to New York,"[{""name"": ""destination"", ""start"": 7, ""end"": 15}]",flight

`text` goes with `slots`, a JSON array with the `name`, `start` and `end` (exclusive) of each, and
its `value` or not. Instead of both, a file may have `tokens` and `tags`, separated by spaces or as
lists of texts. Lists may also be written as pandas writes those of Python and NumPy, as `['to'
'Rome']`. A sentence without `slots` or `tags` is unlabelled; `[]` is one without slots. `intent`
may be left out.

Instead of `slots` or `tags`, a file may have a column for each slot, which is called as the slot
and has its values, or nothing: they are the columns most of whose values stand in the texts. Other
columns are left out. Columns are separated by commas, tabs or semicolons, whichever the header has;
texts with a separator, a line end or a quotation mark are quoted (RFC 4180), in TSV too. A row has
at most 10,000,000 characters.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from slotfill.data.formats.base import (
    Format,
    check_known,
    example_from_tokens,
    parse_each,
    split_on_spaces,
)
from slotfill.data.formats.jsonl import example_from_row
from slotfill.data.json_objects import JsonObject, describe_json_error, parse_json
from slotfill.data.offsets import normal_forms
from slotfill.data.schemes import TAG
from slotfill.data.sentence import MAX_CHARACTERS, Example, Sentence
from slotfill.errors import DataError, did_you_mean, format_count
from slotfill.files import read_lines
from slotfill.text_lines import LineTooLongError

_COLUMNS = ("text", "tokens", "slots", "tags", "intent")
_WRITTEN = ("text", "slots", "intent")

MAX_ROW = 10 * MAX_CHARACTERS
"""Characters of the longest row that is read: a text, its slots and other columns."""

_QUOTE_HINT = 'a cell that begins with a quote, as "ann, is written """ann"'
_CSV_ERRORS = {
    "unexpected end of data": f"the row opens a quote that is not closed; {_QUOTE_HINT}",
    "expected after": f"a quoted cell goes on after its closing quote; {_QUOTE_HINT}",
}
"""What errors of the csv module mean, by a part of their text."""


class Csv(Format):
    """Tables with columns of texts and slots, or tokens and tags."""

    suffixes = (".csv", ".tsv")
    detected_by = "a column `text`, and `slots` or tabs; or the columns `tokens` and `tags`"
    frame = (",".join(_WRITTEN) + "\n", "", "")

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        names = _split_header(head[0])[0] if head else []
        if {"text", "slots"} <= {*names} or {"tokens", "tags"} <= {*names}:
            return True
        if names == ["text"]:  # The only column; lines of CoNLL would be single tokens.
            return any(" " in line for line in head[1:])
        is_row = any(TAG.fullmatch(name.upper()) for name in names)  # A token with its tag.
        return "text" in names and "\t" in head[0] and not is_row

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        _, rows = read_rows(path)
        location, header = next(rows, ("", []))
        names = [name.strip().lower() for name in header]
        if not names:
            return
        for name in names:
            if name in _COLUMNS and names.count(name) > 1:
                raise DataError(f"{location}: two columns '{name}'; rename one of them")
        if not {"text", "tokens"} & {*names}:
            hint = did_you_mean("", ["text", "tokens"])
            raise DataError(f"{location}: no column of texts in the header{hint}")
        others = [index for index, name in enumerate(names) if name not in _COLUMNS]
        slots: dict[int, str] = {}
        if {"tokens", "slots", "tags"}.isdisjoint(names) and not self.reads_texts:
            slots = {i: header[i] for i in _find_slots(path, names.index("text"), others)}
            others = [index for index in others if index not in slots]

        def parse(numbered: tuple[int, tuple[str, list[str]]]) -> Example:
            number, (location, cells) = numbered
            if len(cells) != len(names):
                raise DataError(
                    f"{location}: {format_count(len(cells), 'cell')}, but the header names"
                    f" {format_count(len(names), 'column')}; quote cells that contain separators"
                )
            row = {name: cell for name, cell in zip(names, cells, strict=True) if cell.strip()}
            values = [(name, cells[i].strip()) for i, name in slots.items() if cells[i].strip()]
            example = _make_example(row, values if slots else None, location, scheme)
            extra = {header[index]: cells[index] for index in others}
            example.list_unread([] if number else list(extra), "column", extra)
            return example

        is_empty = True
        for example in parse_each(parse, enumerate(rows)):
            is_empty = False
            yield example
        if is_empty:
            raise DataError(f"{location}: a header without rows; add a row for each sentence")

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_known(sentence, "csv")
        slots = None
        if sentence.slots is not None:
            items = [sentence.slot_to_json(slot) for slot in sentence.slots]
            for item, resolved in zip(items, sentence.resolved or (), strict=False):
                item |= {"resolved": resolved} if resolved is not None else {}
            slots = json.dumps(items, ensure_ascii=False)
        cells = (sentence.text, slots, sentence.intent)
        if cell := next((cell for cell in cells if cell and "\r" in cell), None):
            location = sentence.location or "sentence"
            raise DataError(f"{location}: {cell!r} has a CR, so csv cannot hold it; write jsonl")
        file = StringIO()
        csv.writer(file, lineterminator="\n").writerow(cells)
        return file.getvalue()


def _split_header(line: str) -> tuple[list[str], str]:
    """Return the names in the first line of a file, in lower case, and what separates them."""
    separator = max("\t,;", key=line.count)
    return [name.strip('" ').lower() for name in line.split(separator)], separator


def read_rows(path: Path) -> tuple[str, Iterator[tuple[str, list[str]]]]:
    """Return the separator of a file, and its rows that are not empty with their locations."""
    lines = read_lines(path, max_characters=MAX_ROW)
    number, header = next(((number, line) for number, line in lines if line.strip()), (1, ""))
    separator = _split_header(header)[1]
    text = chain([header], (line for _, line in lines))
    return separator, _parse_rows(path, text, separator, number)


def _parse_rows(
    path: Path, lines: Iterable[str], separator: str, number: int
) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of `lines` that are not empty, each with the location of its first line."""
    size = 0

    def count() -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line) + 1
            if size > MAX_ROW:
                raise LineTooLongError
            yield f"{line}\n"

    csv.field_size_limit(MAX_ROW)  # By default 131,072, too little for thousands of slots.
    reader = csv.reader(count(), delimiter=separator, strict=True)
    while True:
        location, size = f"{path}:{number + reader.line_num}", 0
        try:
            row = next(reader, None)
        except LineTooLongError:
            problem = f"a row of more than {MAX_ROW:,} characters, perhaps of an unclosed quote"
            raise DataError(f"{location}: {problem}; {_QUOTE_HINT}") from None
        except csv.Error as error:
            found = (text for part, text in _CSV_ERRORS.items() if part in str(error))
            problem = next(found, f"the row is not CSV: {error}")
            raise DataError(f"{location}: {problem}") from None
        if row is None:
            return
        if row:
            yield location, row


def _find_slots(path: Path, text: int, columns: Sequence[int]) -> list[int]:
    """Return those of `columns` most of whose values are a part of their text."""
    scores: Counter[int] = Counter()
    parts = set()
    _, rows = read_rows(path)
    next(rows)
    for _, cells in rows:
        for index in columns if len(cells) > max([text, *columns]) else ():
            if value := cells[index].strip():
                is_in = _is_in(value, cells[text]) and _is_word(value, cells[text])
                scores[index] += 1 if is_in else -1
                if is_in and value != cells[text].strip():
                    parts.add(index)
    return [index for index in columns if scores[index] > 0 and index in parts]


def _is_in(value: str, text: str) -> bool:
    """Return whether `text` has `value`, in any normalization form."""
    return any(form in text for form in normal_forms(value))


def _is_word(value: str, text: str) -> bool:
    """Return whether `value` is no part of a word in `text`, of scripts that have spaces."""
    return not value.isascii() or bool(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text))


def _make_example(
    row: dict[str, str], slots: Sequence[tuple[str, str]] | None, location: str, scheme: str
) -> Example:
    """Return the example of the cells that are not empty, by the names of their columns.

    `slots` are those of a file that has a column for each: names and values.
    """
    text, intent = row.get("text"), row.get("intent")
    if ("tags" in row and "tokens" not in row) or ("slots" in row and "tokens" in row):
        raise DataError(f"{location}: 'slots' go with 'text', and 'tags' with 'tokens'")
    if "tokens" in row:
        tokens = _split_cell(row["tokens"], location)
        tags = _split_cell(row["tags"], location) if "tags" in row else None
        if tokens == tags == ["[]"]:
            tokens, tags = [], []
        return example_from_tokens(tokens, tags, scheme, intent, [location], text)
    items: dict[str, Any] = {"text": text or "", "intent": intent}
    if slots is not None:
        for name, value in slots:
            if not _is_in(value, items["text"]):
                problem = f"{value!r} of the column '{name}' is not in the text"
                raise DataError(f"{location}: {problem}, as most of its values are; correct it")
        items["slots"] = [{"name": name, "value": value} for name, value in slots]
    elif "slots" in row:
        items["slots"] = _parse_slots(row["slots"], location)
    values = JsonObject(items, location)
    example = example_from_row(values)
    example.list_unread(values.unread())
    return example


def _split_cell(cell: str, location: str) -> list[str]:
    """Return the texts in a cell: a list of JSON, Python or NumPy, or separated by spaces."""
    if not _LIST.fullmatch(cell):
        return split_on_spaces(cell)
    with suppress(json.JSONDecodeError):
        return parse_json(cell, location)
    return [_evaluate(text) for text in _TEXT.findall(cell)]


def _parse_slots(cell: str, location: str) -> Any:
    """Return the value of a cell of JSON, or of a list as Python writes it."""
    try:
        return parse_json(cell, location)
    except json.JSONDecodeError as error:
        if isinstance(value := _evaluate(cell), list):
            return value
        problem = f"'slots' is not JSON: {describe_json_error(error)}"
        raise DataError(f"{location}: {problem}") from None


def _evaluate(text: str) -> Any:
    """Return the value of a Python literal; `text` itself if it is none."""
    errors = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
    with suppress(*errors), catch_warnings():
        simplefilter("ignore")  # On a backslash that escapes nothing.
        value = ast.literal_eval(text)
        json.dumps(value, ensure_ascii=False).encode()  # Not half a character.
        return value
    return text


_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_LIST = re.compile(rf"\[\s*(?:(?:{_TEXT.pattern})(?:\s*,\s*|\s+|(?=\])))+\]", re.DOTALL)
"""A list of texts, whose items NumPy separates by spaces."""
