"""What every file becomes when read, and every prediction before it is written: sentences with slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Slot(NamedTuple):
    """A named run of tokens, `start` included, `end` not."""

    name: str
    start: int
    end: int


@dataclass(slots=True)
class Sentence:
    """One sentence: its text, its tokens with their place in the text, and its slots.

    `offsets[i]` is the first character of `tokens[i]` and the one after its last. `slots` is in order,
    without overlaps, and None where nobody has labelled the sentence. `place` is `file:line` or empty.
    """

    text: str
    tokens: list[str]
    offsets: list[tuple[int, int]]
    slots: list[Slot] | None = None
    intent: str | None = None
    place: str = ""

    @classmethod
    def of_tokens(
        cls, tokens: list[str], slots: list[Slot] | None = None, intent: str | None = None, place: str = ""
    ) -> Sentence:
        """Return the sentence whose text is `tokens` joined by blanks."""
        offsets = []
        start = 0
        for token in tokens:
            offsets.append((start, start + len(token)))
            start += len(token) + 1
        return cls(" ".join(tokens), tokens, offsets, slots, intent, place)

    def span(self, slot: Slot) -> tuple[int, int]:
        """Return the characters of `slot` in the text: its first, and the one after its last."""
        return self.offsets[slot.start][0], self.offsets[slot.end - 1][1]

    def value(self, slot: Slot) -> str:
        """Return the words of `slot` as they stand in the text."""
        start, end = self.span(slot)
        return self.text[start:end]
