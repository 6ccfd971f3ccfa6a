"""WebAnno TSV 3, which INCEpTION and WebAnno export: a line for each token, a column a feature.

A slot is an annotation of a span layer, and its name the feature `value`, or the layer's only one.
Layers of single tokens, such as lemmas and parts of speech, are passed over; of several others one
is chosen with `layer`. Offsets are in UTF-16 code units. Other layers and features, relations and
annotations without a value are left out, and listed; ids are not. The files have no intents.

    #FORMAT=WebAnno TSV 3.3
    #T_SP=webanno.custom.Slot|value
    #Text=fly to New York
    1-1	0-3	fly	_
    1-2	4-6	to	_
    1-3	7-10	New	destination[1]
    1-4	11-15	York	destination[1]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from slotfill.data.formats.base import Format
from slotfill.data.offsets import find_value, from_utf16
from slotfill.data.sentence import Example, unreadable
from slotfill.data.tokenizers import is_empty
from slotfill.errors import DataError, format_count, shorten_text
from slotfill.files import read_lines

_HEAD = re.compile(r"#FORMAT=WebAnno TSV 3(\.\d+)?\s*")
_DECLARATION = re.compile(r"#T_(SP|RL|CH)=(.+)")
_TOKEN_LAYERS = (".api.lexmorph.", ".api.segmentation.")
_ID = re.compile(r"\d{1,9}-\d{1,9}(\.\d{1,9})?")
_OFFSETS = re.compile(r"(\d{1,9})-(\d{1,9})")
_ITEM = re.compile(r"((?:[^\\|]|\\.)+?)(?:\[(\d+)\])?(?:\||$)")
_ESCAPE = re.compile(r"\\(->|.)")
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f"}
_NONE = ("_", "*", "")


class _Column(NamedTuple):
    """A column after the token: a feature of a layer."""

    kind: str
    """`SP` for spans, `RL` for relations, `CH` for chains."""
    layer: str
    feature: str

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.feature}" if self.feature else self.layer


class _Row(NamedTuple):
    """A token, or a part of one."""

    id: str
    start: int
    end: int
    token: str
    cells: list[str]
    location: str


class Inception(Format):
    """WebAnno TSV 3.

    layer: the span layer of the slots, such as NamedEntity, or its feature, such as
        NamedEntity.value; null for the only one.
    """

    suffixes = (".tsv",)
    has_tags = False
    detected_by = "the first line is `#FORMAT=WebAnno TSV 3.3`, or another 3"
    holds_intents = False

    def __init__(self, *, layer: str | None = None) -> None:
        self.layer = layer

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        return bool(head) and bool(_HEAD.fullmatch(head[0]))

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        columns, sentences = _parse(path)
        rows = [row for _, rows in sentences for row in rows]
        found = self._find_columns(columns, rows)
        if len(found) != 1:
            problem = "several columns could be the slots" if found else "no column of slots"
            names = [
                each.name for each in columns if each.kind == "SP" and (each in found or not found)
            ]
            raise DataError(
                f"{path}: {problem}; set data.format={{name: inception, layer: NAME}} to one of:"
                f" {', '.join(names) or 'none'}"
            )
        column = columns.index(found[0])
        counts = Counter(
            i for row in rows for i, cell in enumerate(row.cells) if cell not in ("_", "")
        )
        others = [
            f"{columns[index].name} ({format_count(count, 'token')})"
            for index, count in sorted(counts.items())
            if index != column
        ]
        for index, (text, rows) in enumerate(sentences):
            try:
                example = _make_example(text, rows, column)
            except DataError as error:
                example = unreadable(error)
            if index == 0 and others:
                example.leave_out(f"other annotations of the file: {', '.join(others)}")
            yield example

    def _find_columns(self, columns: list[_Column], rows: list[_Row]) -> list[_Column]:
        """Return the columns that may have the slots."""
        spans = [column for column in columns if column.kind == "SP"]
        if self.layer is None:
            spans = [c for c in spans if not any(part in c.layer for part in _TOKEN_LAYERS)]
        else:
            ending = f".{self.layer}"
            if features := [column for column in spans if f".{column.name}".endswith(ending)]:
                return features
            spans = [column for column in spans if f".{column.layer}".endswith(ending)]
        layers = {column.layer for column in spans if column.feature == "value"}
        spans = [c for c in spans if c.feature == "value" or c.layer not in layers]
        used = {
            columns[index]
            for row in rows
            for index, cell in enumerate(row.cells)
            if any(item[1] not in _NONE for item in _ITEM.finditer(cell))
        }
        return [column for column in spans if column in used] or spans[:1]


def _parse(path: Path) -> tuple[list[_Column], list[tuple[str, list[_Row]]]]:
    """Return the columns of a file, and the text and the rows of each of its sentences."""
    columns: list[_Column] = []
    sentences: list[tuple[str, list[_Row]]] = []
    in_text = False
    for number, line in read_lines(path):
        location = f"{path}:{number}"
        if number == 1 and not _HEAD.fullmatch(line):
            problem = f"expected '#FORMAT=WebAnno TSV 3.3', found {shorten_text(line)!r}"
            raise DataError(f"{location}: {problem}")
        if line.startswith("#Text="):
            text = _unescape(line.removeprefix("#Text="))
            if in_text:  # The lines of one sentence.
                text = f"{sentences.pop()[0]}\n{text}"
            sentences.append((text, []))
            in_text = True
            continue
        in_text = False
        if declaration := _DECLARATION.fullmatch(line.strip()):
            layer, *features = declaration[2].split("|")
            columns += [_Column(declaration[1], layer, each) for each in features or [""]]
        elif line.strip() and not line.startswith("#"):
            row = _parse_row(line, location, len(columns))
            if not sentences:
                raise DataError(f"{location}: a token before the first line of '#Text='")
            sentences[-1][1].append(row)
    for text, rows in sentences:
        if text.strip() and not rows:
            raise DataError(f"{path}: the sentence {shorten_text(text)!r} has no tokens")
    return columns, [(text, rows) for text, rows in sentences if rows]


def _parse_row(line: str, location: str, size: int) -> _Row:
    row = line.removesuffix("\t").split("\t")
    offsets = _OFFSETS.fullmatch(row[1]) if len(row) > 1 else None
    is_row = len(row) == 3 + size and _ID.fullmatch(row[0]) and offsets
    # Only a part of a token may have no characters.
    if not is_row or offsets is None or (is_empty(row[2]) and "." not in row[0]):
        raise DataError(
            f"{location}: expected an id such as 1-1, offsets such as 0-5, the token and"
            f" {format_count(size, 'column')} of annotations, separated by tabs, found {line!r}"
        )
    start, end = int(offsets[1]), int(offsets[2])
    return _Row(row[0], start, end, _unescape(row[2]), row[3:], location)


def _make_example(text: str, rows: list[_Row], column: int) -> Example:
    """Return a sentence with the annotations in a column."""
    example = Example(text, [], None, rows[0].location)
    before = text[: max(text.find(rows[0].token), 0)]
    origin = rows[0].start - len(before.encode("utf-16-le")) // 2
    spans: dict[str, tuple[str, int, int]] = {}
    offsets = []
    for index, row in enumerate(rows):
        start, end = _place(example, row, origin)
        offsets.append((start, end))
        for number, item in enumerate(_ITEM.finditer(row.cells[column])):
            if item[1] == "_":
                continue
            if item[1] == "*":
                example.leave_out(f"the annotation of {row.token!r}, which has no value")
                continue
            key = item[2] or f"{index} {number}"
            name, first, last = spans.get(key, (_unescape(item[1]), start, end))
            spans[key] = (name, min(first, start), max(last, end))
    for name, start, end in spans.values():
        if start == end:
            example.leave_out(f"the annotation '{name}' of no characters")
        else:
            example.add_span(name, start, end)
    if not any("." in row.id for row in rows):  # Else slots begin or end inside tokens.
        for row, (_, end), (start, _) in zip(rows[1:], offsets, offsets[1:], strict=False):
            if start < end:
                problem = f"the token {row.token!r} begins before the end of the last one"
                raise DataError(f"{row.location}: {problem}")
        example.offsets = offsets
    return example


def _place(example: Example, row: _Row, origin: int) -> tuple[int, int]:
    """Return the characters of a token; `origin` is the offset of the sentence."""
    text = example.text
    start, end = (from_utf16(text, offset - origin) for offset in (row.start, row.end))
    if text[start:end] == row.token:
        return start, end
    found = find_value(text, row.start - origin, row.end - origin, row.token)
    if found is None:
        raise DataError(
            f"{row.location}: the token {row.token!r} is not in '#Text='; from {row.start} to"
            f" {row.end} it reads {shorten_text(text[start:end])!r}"
        )
    message = f"token {row.token!r}: {row.start} to {row.end} read as {found[0]} to {found[1]}"
    example.add_issue("corrected offset", message, row.location)
    return found[:2]


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)
