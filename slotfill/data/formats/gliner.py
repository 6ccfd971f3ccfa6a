"""Training data of GLiNER: tokens, and slots by their first and last token, which is inclusive.

One JSON array, or JSON lines. There are no intents. Without `ner` a sentence is unlabelled.
GLiNER2's JSON lines are read too: `{"input": "...", "output": {"entities": {"city": ["Rome"]}}}`,
with an intent if `classifications` has one task. They do not say where a value stands, so it must
occur in the text once, or as often as it is listed. Other keys are not read. An array is written.

    [
    {"tokenized_text": ["fly", "to", "New", "York"], "ner": [[2, 3, "destination"]]}
    ]
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from slotfill.data.formats._json_rows import (
    JsonRows,
    is_triple,
    join_intents,
    start_example,
)
from slotfill.data.formats.base import check_known, example_from_tokens
from slotfill.data.json_objects import JsonObject, shorten
from slotfill.data.normalization import normalize
from slotfill.data.offsets import find_all
from slotfill.data.sentence import Example, Sentence
from slotfill.errors import format_count


class Gliner(JsonRows):
    """GLiNER's tokens and inclusive token spans."""

    detected_by = "the keys `tokenized_text`, or `input` and `output`"

    holds_intents = False
    frame = ("[\n", ",\n", "\n]\n")

    @classmethod
    def has_shape(cls, row: Any) -> bool:
        match row:
            case {"tokenized_text": [*_]}:
                return True
            case {"input": str(), "output": {**keys}} | {"text": str(), "schema": {**keys}}:
                return not keys.keys().isdisjoint(("entities", "classifications"))
        return False

    def parse(self, row: JsonObject) -> Example:
        if "tokenized_text" not in row.items:
            return _parse_gliner2(row)
        tokens = row.texts("tokenized_text") or []
        example = example_from_tokens(
            tokens, None, scheme="", intent=None, locations=[row.location]
        )
        assert example.offsets is not None
        entities = row.get("ner", list, None)
        if entities is not None:
            example.spans = []
        for entity in entities or ():
            if not (is_triple(entity) and 0 <= entity[0] <= entity[1] < len(tokens)):
                row.fail(
                    f'expected [first, last, label] in "ner", tokens from 0 to {len(tokens) - 1}'
                    f" where last is a part of the slot, found {shorten(entity)}"
                )
            first, last, label = entity[:3]
            example.add_span(label, example.offsets[first][0], example.offsets[last][1])
        return example

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_known(sentence, "gliner")
        row: dict[str, Any] = {"tokenized_text": sentence.surface_forms}
        if sentence.slots is not None:
            row["ner"] = [[slot.start, slot.end - 1, slot.name] for slot in sentence.slots]
        return json.dumps(row, ensure_ascii=False)


def _without_overlaps(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the places that do not overlap one before them, in order."""
    kept: list[tuple[int, int]] = []
    for place in sorted(places):
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


def _parse_gliner2(row: JsonObject) -> Example:
    text_key, labels_key = ("input", "output") if "input" in row.items else ("text", "schema")
    example = start_example(row, text_key)
    labels = row.object(labels_key)
    if "entities" in labels.items:
        example.spans = []
    entities = labels.object("entities")
    for name in entities.items:
        spellings = defaultdict(list)
        for value in entities.texts(name) or ():
            spellings[normalize("NFC", value)].append(value)
        for values in spellings.values():
            found = {place for value in {*values} for place in find_all(example.text, value)}
            if not found:
                row.fail(f"'{name}' has {values[0]!r}, which is not in the text")
            places = _without_overlaps(found)
            if len(places) != len(values):
                listed, times = (format_count(len(each), "time") for each in (values, places))
                problem = f"'{name}' has {values[0]!r} {listed}, the text {times}"
                row.fail(f"{problem}; GLiNER2 does not say which it is; use a format with offsets")
            for start, end in places:
                example.add_span(name, start, end)
    tasks = labels.objects("classifications")
    if len(tasks) == 1:
        label = tasks[0].value("true_label") or []
        chosen = label if isinstance(label, list) else [label]
        example.intent = join_intents(chosen, row, "true_label")
    elif tasks:
        example.leave_out('"classifications"')
    return example
