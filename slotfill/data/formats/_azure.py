"""The offsets of Azure's language services, which count in several units."""

from __future__ import annotations

from itertools import accumulate

from slotfill.data.json_objects import JsonObject
from slotfill.data.sentence import Example
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import format_count

UTF16 = "Utf16CodeUnit"
UNITS = (UTF16, "UnicodeCodePoint", "TextElements_V8")


class OffsetReader:
    """Adds slots to an example whose offsets are in a unit of Azure."""

    def __init__(self, example: Example, unit: str) -> None:
        self.example = example
        self.unit = unit
        self._characters = _characters_by_offset(example.text, unit)

    def add_span(self, name: str, start: int, end: int, item: JsonObject) -> None:
        """Add a slot; `item` is where it comes from."""
        if start not in self._characters or end not in self._characters:
            size = format_count(max(self._characters), "character")
            item.fail(
                f"slot '{name}' from {start} to {end} is not in the text of {size}"
                f" ({self.unit}), or cuts one of them"
            )
        self.example.add_span(name, self._characters[start], self._characters[end])


def read_utterance(row: JsonObject) -> Example:
    """Return the text and the intent of an utterance, as yet without slots."""
    return Example(row.get("text", str), [], row.get("intent", str, None) or None, row.location)


def _characters_by_offset(text: str, unit: str) -> dict[int, int]:
    """Return the index of the character at each offset in `unit` where a character begins."""
    edges = list(range(len(text) + 1))
    if unit == UTF16:
        sizes = (2 if character > "\uffff" else 1 for character in text)
        return dict(zip(accumulate(sizes, initial=0), edges, strict=True))
    if unit == "TextElements_V8":
        clusters = Tokenizer("characters").tokenize(text).offsets
        inside = {index for start, end in clusters for index in range(start + 1, end)}
        edges = [index for index in edges if index not in inside]
    return dict(enumerate(edges))
