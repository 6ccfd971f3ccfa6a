"""A JSON object a line: tokens and tags, or text and slots with character offsets.

    {"tokens": ["fly", "to", "Taipei"], "tags": ["O", "O", "B-destination"]}
    {"text": "fly to Taipei", "slots": [{"name": "destination", "value": "Taipei", "start": 7,
    "end": 13}]}

Either may have an "intent". `end` is the character after the last; `value` may be left out, and
must be what stands there if given. Without tags or slots the sentence is unlabelled. Other keys are
passed over. The second shape is the one written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any, NoReturn

from slotfill.data.formats.base import Format, slots_from_spans
from slotfill.data.sentence import Sentence
from slotfill.data.tokenizers import tokenize
from slotfill.errors import DataError
from slotfill.files import read_lines


class Jsonl(Format):
    """JSON lines."""

    suffixes = (".jsonl", ".ndjson", ".json")

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        return bool(head) and all(line.lstrip().startswith("{") for line in head)

    def read(self, path: Path, *, scheme: str, tokenizer: str) -> Iterator[Sentence]:
        for number, line in read_lines(path):
            if line.strip():
                row = _Row(_parse(line, f"{path}:{number}"), f"{path}:{number}")
                if row.get("tokens", list, None) is not None:
                    yield self._of_tokens(row, scheme)
                else:
                    yield _of_text(row, tokenizer)

    def _of_tokens(self, row: _Row, scheme: str) -> Sentence:
        tokens, tags = row.texts("tokens"), row.texts("tags")
        if not tokens:
            row.fail("an empty sentence; take the line out")
        intent = row.get("intent", str, None)
        if tags is None:
            if row.items.get("slots") is not None:
                row.fail(_MIXED)
            return Sentence.from_tokens(tokens, None, intent, row.place)
        if len(tags) != len(tokens):
            row.fail(f"tokens: {len(tokens)}, but tags: {len(tags)}; give each token its tag")
        return self.sentence_from_tags(tokens, tags, scheme=scheme, intent=intent, place=row.place)

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        # Put together by hand, as json.dumps would write it, in a third of the time.
        text, slots, intent = sentence.text, "", ""
        if sentence.slots is not None:
            items = []
            for slot in sentence.slots:
                start, end = sentence.span(slot)
                value = quoted(text[start:end])
                items.append(
                    f'{{"name": {quoted(slot.name)}, "value": {value}, "start": {start}, "end":'
                    f" {end}}}"
                )
            slots = f', "slots": [{", ".join(items)}]'
        if sentence.intent:
            intent = f', "intent": {quoted(sentence.intent)}'
        return f'{{"text": {quoted(text)}{slots}{intent}}}\n'


class _Row:
    """A JSON object and its place; what it hands out has the type asked for, or there is a
    DataError.
    """

    def __init__(self, items: dict[str, Any], place: str) -> None:
        self.items = items
        self.place = place

    def fail(self, fault: str) -> NoReturn:
        raise DataError(f"{self.place}: {fault}")

    def get(self, key: str, kind: type, *default: Any) -> Any:
        value = self.items.get(key)
        if value is None and default:
            return default[0]
        if type(value) is not kind:
            missing = key not in self.items
            found = (
                "it is missing"
                if missing
                else f"found {json.dumps(value, ensure_ascii=False)[:40]}"
            )
            self.fail(f'expected {_NAMES[kind]} as "{key}", {found}')
        return value

    def texts(self, key: str) -> list[str] | None:
        values: list[str] | None = self.get(key, list, None)
        for value in values or ():
            if type(value) is not str or not value.strip():
                self.fail(
                    f'"{key}" must hold texts that are not blank, found {json.dumps(value)[:40]}'
                )
        return values


_NAMES = {str: "a text", int: "a whole number", list: "a list"}


def _parse(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if "\\u" in line and (half := _HALF.search(json.dumps(row, ensure_ascii=False))):
            raise DataError(
                f"{place}: {json.dumps(half[0])} is half a character, which UTF-8 cannot hold"
            )
    except json.JSONDecodeError as fault:
        if line.startswith("["):
            raise DataError(f"{place}: {_ARRAY.format(place.rpartition(':')[0])}") from None
        raise DataError(f"{place}: not JSON: {fault.msg} at column {fault.colno}") from None
    except (ValueError, RecursionError) as fault:
        raise DataError(f"{place}: JSON that cannot be used: {fault}") from None
    if isinstance(row, list):
        raise DataError(f"{place}: {_ARRAY.format(place.rpartition(':')[0])}")
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected a JSON object, found {line.strip()[:40]}")
    return row


_HALF = re.compile("[\ud800-\udfff]")  # JSON can spell one half of a pair of UTF-16
_ARRAY = "a JSON array, but jsonl is one object a line; convert it, e.g. jq -c '.[]' {}"

_MIXED = '"slots" go with "text", "tags" with "tokens"'


def _of_text(row: _Row, tokenizer: str) -> Sentence:
    if row.items.get("text") is None:
        row.fail('neither "text" nor "tokens"')
    sentence = tokenize(row.get("text", str), tokenizer, row.place)
    if not sentence.tokens:
        row.fail("an empty sentence; take the line out")
    sentence.intent = row.get("intent", str, None)
    if (slots := row.get("slots", list, None)) is not None:
        sentence.slots = slots_from_spans(sentence, [_span(item, sentence) for item in slots])
    elif row.items.get("tags") is not None:
        row.fail(_MIXED)
    return sentence


def _span(item: Any, sentence: Sentence) -> tuple[str, int, int]:
    if not isinstance(item, dict):
        raise DataError(
            f'{sentence.location}: expected an object with name, start and end in "slots"'
        )
    row = _Row(item, sentence.location)
    name, start, end = row.get("name", str), row.get("start", int), row.get("end", int)
    value = row.get("value", str, None)
    if (
        value is not None
        and 0 <= start < end <= len(sentence.text)
        and value != sentence.text[start:end]
    ):
        row.fail(f"slot '{name}' has the value {value!r}, but from {start} to {end} "
                 f"the text reads {sentence.text[start:end]!r}")  # fmt: skip
    return name, start, end
