"""What formats of one JSON value a sentence share: JSON lines, or one array of the same values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slotfill.data.formats.base import Format, parse_each
from slotfill.data.json_objects import JsonObject, parse_head, read_row_objects, shorten
from slotfill.data.sentence import INTENT_SEPARATOR, Example
from slotfill.errors import DataError


class JsonRows(Format):
    """A format whose files are JSON lines, or one JSON array."""

    suffixes = (".jsonl", ".ndjson", ".json")
    has_tags = False

    @classmethod
    def has_shape(cls, row: Any) -> bool:
        """Return whether a JSON value has keys that only this format has."""
        raise NotImplementedError

    def parse(self, row: JsonObject) -> Example:
        """Return the example that one JSON object is; raises DataError."""
        raise NotImplementedError

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        rows = parse_head(head)
        own = (row for row in rows if isinstance(row, dict) and ("slots" in row or "tags" in row))
        return any(map(cls.has_shape, rows)) and not any(own)

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        yield from parse_each(self.parse_all, self.rows(path))

    def parse_all(self, row: JsonObject) -> Example:
        """Return the example that one JSON object is, with the keys that it does not hold."""
        example = self.parse(row)
        unread = row.unread_items().items()
        extra = {key: value for key, value in unread if value not in (None, "", [], {})}
        example.list_unread(row.unread(self.bookkeeping), extra=extra)
        return example

    def rows(self, path: Path) -> Iterator[JsonObject | DataError]:
        """Yield the JSON objects of the file, and an error for each line that is none."""
        return read_row_objects(path)


def start_example(row: JsonObject, text_key: str = "text") -> Example:
    """Return the example, still without labels, of the text at `text_key`."""
    return Example(row.get(text_key, str), None, None, row.location)


def is_triple(value: Any) -> bool:
    """Return whether a JSON value is `[start, end, label]`, perhaps with more after it."""
    return isinstance(value, list) and list(map(type, value[:3])) == [int, int, str]


def add_triples(example: Example, row: JsonObject, key: str) -> None:
    """Add the slots of a list of `[start, end, label]`; without one, the text is unlabelled."""
    triples = row.get(key, list, None)
    if triples is None:
        return
    example.spans = []
    for triple in triples:
        if not is_triple(triple):
            row.fail(f'expected [start, end, label] in "{key}", found {shorten(triple)}')
        start, end, label, *others = triple
        example.add_span(label, start, end)
        if any(others):
            example.leave_out(f"{shorten(others)} of slot '{label}'")


SPAN_FIELDS = {
    "start": ("start", "start_offset"),
    "end": ("end", "end_offset"),
    "label": ("label", "name", "type", "entity"),
    "value": ("value", "text"),
    "resolved": ("resolved",),
}
"""The usual names of the fields of a span; Parquet is written with the first."""


def join_intents(names: Sequence[Any], row: JsonObject, key: str) -> str | None:
    """Return the intent with these names; raises DataError if they are not texts."""
    for name in names:
        if type(name) is not str:
            row.fail(f'expected texts in "{key}", found {shorten(name)}')
    return INTENT_SEPARATOR.join(names) or None


def set_intent_from_scores(example: Example, scores: Mapping[str, Any]) -> None:
    """Make the categories whose score is 1 the intent, and note others that are not 0."""
    for name, score in scores.items():
        if type(score) not in (int, float, bool):
            problem = f"expected the number of the category '{name}', found {shorten(score)}"
            raise DataError(f"{example.location}: {problem}")
        if score not in (0, 1):
            example.leave_out(f"the category '{name}' of {score}")
    names = [name for name, score in scores.items() if score == 1]
    example.intent = INTENT_SEPARATOR.join(names) or None
