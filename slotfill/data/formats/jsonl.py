"""JSON lines: one object a line, with tokens and tags, or text and slots with character offsets.

    {"text": "fly to New York", "tokens": ["fly", "to", "New", "York"], "tags": ["O", "O", "B-destination", "I-destination"], "intent": "flight"}
    {"text": "fly to New York", "slots": [{"name": "destination", "value": "New York", "start": 7, "end": 15}], "intent": "flight"}

Either may have an "intent". `text` may be left out beside `tokens`, and `value` beside `start` and
`end`; they must agree if present. A slot with a `value` alone is its next occurrence in the text,
as are those of `"slots": {"destination": "New York"}`, where several values of a name are a list.
`end` is exclusive. `"unknown": [[10, 16]]` are characters whose labels are not known, as are
tokens with the tag `?`. The tags may also be called `ner_tags`, and the slots `entities`, each
`[start, end, label]` or an object with `start`, `end` and a `label`, `name`, `type` or `entity`.
Without tags or slots the sentence is unlabelled. Other keys are not read; if they may be the labels
of an unlabelled sentence, it is an error to train on it.

An array of such objects, and objects over several lines, are read as well. Sentences of files of
tokens are written in the first shape, all others in the second.
"""  # noqa: E501 - The examples are lines.

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any

from slotfill.data.formats._json_rows import SPAN_FIELDS, add_triples, is_triple
from slotfill.data.formats.base import Format, example_from_tokens, parse_each, render_tags
from slotfill.data.json_objects import JsonObject, parse_head, read_row_objects, shorten
from slotfill.data.offsets import find_all
from slotfill.data.sentence import Example, Sentence, Slot


class Jsonl(Format):
    """JSON lines."""

    suffixes = (".jsonl", ".ndjson", ".json")
    detected_by = "every line begins with `{`, or JSON objects have `text` or `tokens`"
    is_general = True
    holds_confidence = True

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        if head and all(line.lstrip().startswith("{") for line in head):
            return True
        return any(
            isinstance(row, dict) and {"text", "tokens"} & {*row} for row in parse_head(head)
        )

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        def parse(row: JsonObject) -> Example:
            has_tokens = row.get("tokens", list, None) is not None
            example = _from_tokens(row, scheme) if has_tokens else example_from_row(row)
            if unread := row.unread():
                if example.spans is None:
                    _warn_of_labels(example, unread)
                extra = {k: v for k, v in row.unread_items().items() if self.holds_extra(k)}
                example.list_unread(unread, extra=extra)
            return example

        yield from parse_each(parse, read_row_objects(path))

    def holds_extra(self, key: str) -> bool:
        return key not in _KEYS

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        # Formatted by hand, as json.dumps would write it, in a third of the time.
        labels, confidence = _render_labels(sentence, scheme), sentence.confidence
        if sentence.intent_left_out:
            labels += ', "intent": null'
            labels += _probability("intent_confidence", confidence and confidence.intent)
        if confidence:
            if confidence.candidates:
                candidates = ", ".join(
                    f'{{"name": {quoted(name)}{_probability("confidence", probability)}}}'
                    for name, probability in confidence.candidates
                )
                labels += f', "intents": [{candidates}]'
            labels += _probability("confidence", confidence.reading)
            labels += _probability("in_domain", confidence.in_domain)
            if confidence.readings:
                readings = ", ".join(
                    f'{{"confidence": {reading.probability:.4f}'
                    f"{_render_labels(sentence.with_reading(reading), scheme)}}}"
                    for reading in confidence.readings
                )
                labels += f', "readings": [{readings}]'
        for key, value in (sentence.extra or {}).items():
            if self.holds_extra(key):
                labels += f", {quoted(key)}: {json.dumps(value, ensure_ascii=False, default=str)}"
        return f'{{"text": {quoted(sentence.text)}{labels}}}\n'


def _render_labels(sentence: Sentence, scheme: str) -> str:
    """Return the tags or slots and the intent of a sentence, a comma before each key."""
    labels, text, confidence = "", sentence.text, sentence.confidence
    if sentence.pretokenized:
        labels = f', "tokens": {json.dumps(sentence.surface_forms, ensure_ascii=False)}'
        if sentence.slots is not None:
            tags = render_tags(sentence, scheme)
            labels += f', "tags": {json.dumps(tags, ensure_ascii=False)}'
    elif sentence.slots is not None:
        items = []
        for index, slot in enumerate(sentence.slots):
            start, end = sentence.span(slot)
            value = quoted(text[start:end])
            if sentence.resolved and (resolved := sentence.resolved[index]) is not None:
                value += f', "resolved": {quoted(resolved)}'
            probability = _probability("confidence", confidence and confidence.slots[index])
            items.append(
                f'{{"name": {quoted(slot.name)}, "value": {value}, "start": {start}, "end":'
                f" {end}{probability}}}"
            )
        labels = f', "slots": [{", ".join(items)}]'
        if sentence.unknown:
            spans = [sentence.span(Slot("", *tokens)) for tokens in sentence.unknown]
            labels += f', "unknown": {json.dumps(spans)}'
    if sentence.intent:
        labels += f', "intent": {quoted(sentence.intent)}'
        labels += _probability("intent_confidence", confidence and confidence.intent)
    return labels


def _probability(key: str, value: float | None) -> str:
    """Return a key with a probability of 4 decimals; nothing without one."""
    return "" if value is None else f', "{key}": {value:.4f}'


def _from_tokens(row: JsonObject, scheme: str) -> Example:
    tokens, tags = row.texts("tokens") or [], row.texts("tags")
    if tags is None and _are_texts(row.items.get("ner_tags")):  # They may also be numbers.
        tags = row.texts("ner_tags")
    if tags is None and row.items.get("slots") is not None:
        row.fail(_MIXED_KEYS)
    intent, text = row.get("intent", str, None), row.get("text", str, None)
    return example_from_tokens(tokens, tags, scheme, intent, [row.location], text)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def example_from_row(row: JsonObject) -> Example:
    """Return the example of an object with a text, and slots or not; raises DataError."""
    if row.items.get("text") is None:
        keys = ", ".join(f'"{key}"' for key in [*row.items][:_MAX_KEYS]) or "none"
        missing = f'neither "text" nor "tokens" among the keys: {keys}'
        row.fail(_LEX_HINT if "sampleUtterances" in row.items else missing)
    text = row.get("text", str)
    example = Example(text, None, row.get("intent", str, None), row.location)
    by_name = isinstance(row.items.get("slots"), dict)
    if by_name or row.get("slots", list, None) is not None:
        example.spans = []
        places = _Places(example)
        for slot in _named_slots(row) if by_name else row.objects("slots"):
            _add_span(example, slot, places)
        example.unknown = _unknown_spans(row, len(text))
    elif _has_entities(row):
        _add_entities(example, row)
    elif row.items.get("tags") is not None:
        row.fail(_MIXED_KEYS)
    return example


def _named_slots(row: JsonObject) -> Iterator[JsonObject]:
    """Yield the slots of an object with a value, or a list of values, by name."""
    for name, values in row.value("slots").items():
        for value in values if isinstance(values, list) else [values]:
            if not (isinstance(value, str) and value):
                row.fail(f'expected a text, or several, as "{name}", found {shorten(value)}')
            yield JsonObject({"name": name, "value": value}, row.location)


_MIXED_KEYS = '"slots" go with "text", "tags" with "tokens"'


class _Places:
    """Finds the values of slots without offsets in the text of an example."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._count = self._done = 0  # How many slots were seen, and where the last of them ends.

    def find_next(self, value: str) -> tuple[int, int] | None:
        """Return where `value` is after the slots so far, else anywhere; complete words first."""
        spans = self._example.spans or []
        self._done = max([self._done, *(span.end for span in spans[self._count :])])
        self._count = len(spans)
        found = find_all(self._example.text, value)
        index = bisect_left(found, (self._done,))
        return found[index if index < len(found) else 0] if found else None


def _add_span(example: Example, slot: JsonObject, places: _Places) -> None:
    name, value = slot.get("name", str), slot.get("value", str, None)
    if value and slot.items.keys().isdisjoint(("start", "end")):
        start, end = places.find_next(value) or slot.fail(
            f'"value" {shorten(value)} is not in the text'
        )
    else:
        start, end = slot.get("start", int), slot.get("end", int)
    example.add_span(name, start, end, value, slot.get("resolved", str, None))


def _has_entities(row: JsonObject) -> bool:
    """Return whether the entities of a row say where they are, and so are its slots."""
    entities = row.items.get("entities")
    return isinstance(entities, list) and all(
        is_triple(each) or (isinstance(each, dict) and _fields(each).keys() >= {"start", "label"})
        for each in entities
    )


def _add_entities(example: Example, row: JsonObject) -> None:
    if all(map(is_triple, row.items["entities"])):
        add_triples(example, row, "entities")
        return
    example.spans = []
    for entity in row.objects("entities"):
        fields = {"value": "value", "resolved": "resolved", "end": "end", **_fields(entity.items)}
        start, end = entity.get(fields["start"], int), entity.get(fields["end"], int)
        value, resolved = (entity.get(fields[key], str, None) for key in ("value", "resolved"))
        example.add_span(entity.get(fields["label"], str), start, end, value, resolved)


def _fields(item: dict[str, Any]) -> dict[str, str]:
    """Return the keys of an entity by what is there."""
    keys = {role: [name for name in names if name in item] for role, names in SPAN_FIELDS.items()}
    return {role: found[0] for role, found in keys.items() if found}


def _unknown_spans(row: JsonObject, size: int) -> list[tuple[int, int]]:
    """Return the characters whose labels are not known; parts that overlap are one."""
    spans: list[tuple[int, int]] = []
    for span in row.get("unknown", list, []):
        are_integers = isinstance(span, list) and list(map(type, span)) == [int, int]
        if not (are_integers and 0 <= span[0] < span[1] <= size):
            row.fail(
                f'expected [start, end] with 0 <= start < end <= {size} in "unknown", found'
                f" {shorten(span)}"
            )
        spans.append((span[0], span[1]))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


_MAX_KEYS = 10

_KEYS = {"text", "tokens", "tags", "slots", "unknown", "intent", "intents", "intent_confidence"}
_KEYS |= {"confidence", "in_domain", "readings"}
"""What is written of a sentence and its prediction."""

_LABEL_KEY = re.compile(
    r"(.*_)?(labels?|entity|entities|spans?|annotations?|slots?|tags?|mentions?|ner|bio)(_.*)?",
    re.IGNORECASE,
)


def _warn_of_labels(example: Example, unread: Sequence[str]) -> None:
    """Note if an unlabelled object has keys, not read, that may be its labels."""
    keys = [key for key in unread if _LABEL_KEY.fullmatch(key)]
    names = " and ".join(f'"{key}"' for key in keys)
    message = (
        f'{names} may be labels, but labels are read from "slots", each {{"name", "start",'
        ' "end"}, or "tags" (and "intent"); write them so, or remove the key'
    )
    if keys:
        example.add_issue("unknown labels", message)


_LEX_HINT = (
    "utterances of Amazon Lex are templates such as {City}, without the values to learn from; write"
    " example sentences"
)
