"""Training data of spaCy as JSON: pairs of a text and its annotations, or objects with both.

What scripts for spaCy write, one a line or all in one array: `["text", {"entities": [[start, end,
label]]}]` or `{"text": "...", "entities": [...]}`, where `end` is exclusive. The intent is the
category in `cats` whose score is 1; several are joined by `#`. Without `entities` a text is
unlabelled. Annotations of words and dependencies, span groups and other keys are not read. Pairs
are written, one a line; for a spaCy text classifier, add the other categories with a score of 0.

    ["fly to New York", {"entities": [[7, 15, "destination"]], "cats": {"flight": 1.0}}]
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slotfill.data.formats._json_rows import (
    JsonRows,
    add_triples,
    is_triple,
    set_intent_from_scores,
    start_example,
)
from slotfill.data.formats.base import check_known
from slotfill.data.json_objects import JsonObject, read_row_objects
from slotfill.data.sentence import Example, Sentence, intent_names
from slotfill.errors import DataError


class Spacy(JsonRows):
    """spaCy's pairs of text and annotations."""

    detected_by = 'pairs `["text", {"entities": [...]}]`, or objects with both'

    @classmethod
    def has_shape(cls, row: Any) -> bool:
        if _is_pair(row):
            return not row[1] or not row[1].keys().isdisjoint(("entities", "cats"))
        match row:
            case {"text": str(), "entities": [*entities]}:
                is_other = isinstance(row.get("cats"), list) or not row.keys().isdisjoint(_OTHERS)
                return any(map(is_triple, entities[:1])) and not is_other
        return False

    def rows(self, path: Path) -> Iterator[JsonObject | DataError]:
        return read_row_objects(path, _to_object, '["text", {"entities": [...]}]')

    def parse(self, row: JsonObject) -> Example:
        example = start_example(row)
        add_triples(example, row, "entities")
        set_intent_from_scores(example, row.get("cats", dict, {}))
        return example

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_known(sentence, "spacy")
        annotations: dict[str, Any] = {}
        if sentence.slots is not None:
            annotations["entities"] = [[*sentence.span(s), s.name] for s in sentence.slots]
        if sentence.intent:
            annotations["cats"] = dict.fromkeys(intent_names(sentence.intent), 1.0)
        return json.dumps([sentence.text, annotations], ensure_ascii=False) + "\n"


_OTHERS = ("id", "relations", "Comments", "intent")
"""The keys of doccano, and of JSON lines of slotfill."""


def _to_object(row: Any) -> Any:
    """Return a pair as an object with the text at `text`."""
    return {**row[1], "text": row[0]} if _is_pair(row) else row


def _is_pair(row: Any) -> bool:
    return isinstance(row, list) and list(map(type, row)) == [str, dict]
