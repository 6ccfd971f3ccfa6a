"""Apps of LUIS, the predecessor of Azure CLU, as exported; they are only read.

The entity is the slot; with a role it is called `entity.role`, as `city.origin`. `endPos` is the
last character, and offsets are in UTF-16 code units. Of an entity and its `children`, or a
composite entity and its parts, the longest is kept, and the others are listed. Patterns, lists of
values and regular expressions are not read, and listed; versions and settings are left out without
a word. Every utterance counts as labelled.

    {"luis_schema_version": "7.0.0", "culture": "en-us", "intents": [{"name": "flight"}],
     "entities": [{"name": "destination", "roles": []}],
     "utterances": [
       {"text": "fly to New York", "intent": "flight",
        "entities": [{"entity": "destination", "startPos": 7, "endPos": 14}]}]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from slotfill.data.formats._azure import UTF16, OffsetReader, read_utterance
from slotfill.data.formats.base import Format, parse_each
from slotfill.data.json_objects import JsonObject, read_object, read_objects
from slotfill.data.offsets import from_utf16
from slotfill.data.sentence import Example, describe_unread


class LUIS(Format):
    """Apps of LUIS."""

    suffixes = (".json",)
    has_tags = False
    detected_by = "a JSON object with `luis_schema_version` or `startPos`"

    bookkeeping = frozenset({
        "luis_schema_version", "versionId", "name", "culture", "tokenizerVersion", "settings",
        "roles", "children", "features",
    })  # fmt: skip

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        text = "\n".join(head)
        return text.lstrip().startswith("{") and bool(
            re.search(r'"(luis_schema_version|startPos)"\s*:', text)
        )

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        yield from parse_each(_parse, (row for _, row in read_objects(path, "utterances")))

    def unread(self, path: Path) -> Iterator[str]:
        app = read_object(path)
        app.value("utterances")
        app.objects("intents")
        app.objects("entities")
        yield from describe_unread(app.unread(self.bookkeeping))


def _parse(row: JsonObject) -> Example:
    example = read_utterance(row)
    _add_entities(OffsetReader(example, UTF16), row, "entities")
    example.list_unread(row.unread())
    return example


def _add_entities(offsets: OffsetReader, parent: JsonObject, key: str) -> None:
    for entity in parent.objects(key):
        name, role = entity.get("entity", str), entity.get("role", str, None)
        start, last = entity.get("startPos", int), entity.get("endPos", int)
        text = offsets.example.text
        before = from_utf16(text, last)
        if last > start and text[before : before + 1] in ("", " "):
            found = "a space" if text[before:] else "after the end of the text"
            entity.fail(
                f"slot '{name}': \"endPos\" {last} is {found}; it must be the last character of the"
                " slot, so subtract 1 if it is the first one after it"
            )
        offsets.add_span(f"{name}.{role}" if role else name, start, last + 1, entity)
        _add_entities(offsets, entity, "children")
