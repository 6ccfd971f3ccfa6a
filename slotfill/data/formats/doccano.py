"""JSON lines that doccano exports, with labels in one of the three shapes it has used.

Of a project for sequence labelling, `label` is a list of `[start, end, label]`; with relations,
`entities` is a list of objects with `start_offset` and `end_offset`; of a project for intents and
slots, `entities` is a list of `[start, end, label]` and `cats` one of intents, which are joined by
`#`. `end` is exclusive; offsets count code points, as in a project that does not count grapheme
clusters. An empty list is a text without slots, and without a list it is unlabelled. Ids and dates
are bookkeeping, and left out without a word; relations, comments and other keys are not read, and
listed. In a project for text classification, which the first list that is not empty tells, `label`
is a list of intents, and the texts are unlabelled.

    {"id": 1, "text": "fly to New York", "entities": [[7, 15, "destination"]], "cats": ["flight"]}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slotfill.data.formats._json_rows import (
    JsonRows,
    add_triples,
    is_triple,
    join_intents,
    start_example,
)
from slotfill.data.json_objects import JsonObject
from slotfill.data.schemes import TAG
from slotfill.data.sentence import Example


class Doccano(JsonRows):
    """Exports of doccano."""

    detected_by = (
        "`label` is a list of `[start, end, label]` or of names, or `entities` with `id`,"
        " `Comments` or a list `cats`"
    )

    bookkeeping = frozenset(("id", "created_at", "updated_at"))
    _classifies = False

    @classmethod
    def has_shape(cls, row: Any) -> bool:
        if not isinstance(row, dict) or row.keys().isdisjoint(("text", "data")):
            return False
        labels = row.get("label", row.get("labels"))
        if isinstance(labels, list):
            return all(map(is_triple, labels[:1])) or _are_intents(row.get("label"))
        if "intent" in row:
            return False
        keys = {"relations", "Comments"}
        match row.get("entities"):
            case [{"start_offset": _, "label": _}, *_]:
                return True
            case [[int(), int(), str()], *_]:
                keys.add("id")
            case []:
                pass
            case _:
                return False
        return isinstance(row.get("cats"), list) or not row.keys().isdisjoint(keys)

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        if not self.reads_texts:  # Which may come from the standard input, once.
            rows = (row.items for row in self.rows(path) if isinstance(row, JsonObject))
            labels = filter(None, (row.get("label") for row in rows))
            self._classifies = _are_intents(next(labels, None))
        yield from super().read(path, scheme=scheme)

    def parse(self, row: JsonObject) -> Example:
        # Versions 1.2 to 1.5 call the text data, and those before 1.0 the list labels.
        example = start_example(row, "text" if "text" in row.items else "data")
        if any(isinstance(entity, dict) for entity in row.get("entities", list, [])):
            example.spans = []
            for entity in row.objects("entities"):
                start, end = entity.get("start_offset", int), entity.get("end_offset", int)
                example.add_span(entity.get("label", str), start, end)
        else:
            key = next((key for key in ("label", "labels") if key in row.items), "entities")
            labels = row.items.get(key)
            if _are_intents(labels) or (self._classifies and labels == []):
                example.intent = join_intents(row.value(key), row, key)
                return example
            add_triples(example, row, key)
        example.intent = join_intents(row.get("cats", list, []), row, "cats")
        return example


def _are_intents(labels: Any) -> bool:
    """Return whether the labels of a text are names, and not tags of its words."""
    if not (isinstance(labels, list) and labels and {*map(type, labels)} == {str}):
        return False
    return not all(map(TAG.fullmatch, labels))
