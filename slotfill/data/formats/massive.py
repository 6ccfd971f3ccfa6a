"""JSON lines of MASSIVE and SLURP, with slots in brackets: `fly to [destination : New York]`.

MASSIVE, 52 languages, has the text as `utt` and with slots as `annot_utt`; `partition` is the
split, which is train where only other sentences have one. SLURP has `sentence` and
`sentence_annotation`, and a file for each split. Where both texts differ in spaces or case, the
slots are moved to the plain one; where they differ otherwise, the annotated one is used and the
other is left out. Other keys, such as `scenario`, are not read.

    {"intent": "flight", "utt": "fly to New York", "annot_utt": "fly to [destination : New York]"}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from slotfill.data.formats._json_rows import JsonRows, start_example
from slotfill.data.json_objects import JsonObject, shorten
from slotfill.data.offsets import normal_forms
from slotfill.data.sentence import Example, example_from_parts
from slotfill.data.tokenizers import is_empty

_SLOT = re.compile(r"\[\s*([^\[\]:]+?)\s*:\s*([^\[\]]*?)\s*\]")


class Massive(JsonRows):
    """MASSIVE and SLURP."""

    detected_by = "the keys `utt` and `annot_utt`, or `sentence` and `sentence_annotation`"

    names_splits = True

    @classmethod
    def has_shape(cls, row: Any) -> bool:
        match row:
            case {"utt": _, "annot_utt": _} | {"sentence": _, "sentence_annotation": _}:
                return True
        return False

    def parse(self, row: JsonObject) -> Example:
        is_slurp = "sentence_annotation" in row.items
        keys = ("sentence", "sentence_annotation") if is_slurp else ("utt", "annot_utt")
        example = start_example(row, keys[0])
        annotated = row.get(keys[1], str, None)
        if annotated is not None:
            _annotate(example, annotated, row, keys)
        example.intent = row.get("intent", str, None)
        example.split = row.get("partition", str, None)
        return example


def _annotate(example: Example, annotated: str, row: JsonObject, keys: tuple[str, str]) -> None:
    """Give `example` the slots of the annotated text."""
    places, characters = _visible(example.text)
    for form in (*normal_forms(annotated), annotated):
        parts = ((part, name, None) for part, name in _split(form))
        other = example_from_parts(parts, row.location)
        other_places, other_characters = _visible(other.text)
        if characters == other_characters:
            place = dict(zip(other_places, places, strict=True))
            example.spans = []
            for name, start, end, _ in other.spans or ():
                if start == end:
                    row.fail(f"slot '{name}' has no words")
                example.add_span(name, place[start], place[end - 1] + 1)
            return
    for bracket in "[]":
        if (bracket in other.text and bracket not in example.text) or is_empty(other.text):
            row.fail(f'"{keys[1]}" is not as [slot : words], found {shorten(annotated)}')
    example.leave_out(f'"{keys[0]}" ({example.text!r})')
    example.text, example.spans = other.text, other.spans


def _split(annotated: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of an annotated text, each with the name of its slot, empty for none."""
    done = 0
    for match in _SLOT.finditer(annotated):
        yield annotated[done : match.start()], ""
        yield match[2], match[1]
        done = match.end()
    yield annotated[done:], ""


def _visible(text: str) -> tuple[list[int], list[str]]:
    """Return where the characters of `text` are that are not spaces, and the characters."""
    places = [index for index, character in enumerate(text) if not character.isspace()]
    return places, [text[place].lower() for place in places]
