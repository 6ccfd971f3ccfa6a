"""What every file becomes when read, and every prediction before it is written: sentences with
slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

INTENT_SEPARATOR = "#"
"""What stands between the intents of a sentence that has several."""


def intent_names(intent: str | None) -> list[str]:
    """Return the names in an intent as it is written, such as `flight#airfare`, each once; none if
    there is none.
    """
    names = (name.strip() for name in (intent or "").split(INTENT_SEPARATOR))
    return list(dict.fromkeys(name for name in names if name))


class Slot(NamedTuple):
    """A named run of tokens, `start` included, `end` not."""

    name: str
    start: int
    end: int


@dataclass(slots=True)
class Sentence:
    """One sentence: its text, its tokens with their location in the text, and its slots.

    `starts[i]` is the location in the text of the first character of `tokens[i]`. `slots` is in order,
    without overlaps, and None where nobody has labelled the sentence. `intent` may hold several, as
    `intent_names` tells. `place` is `file:line` or empty.
    """

    text: str
    tokens: list[str]
    starts: list[int]
    slots: list[Slot] | None = None
    intent: str | None = None
    location: str = ""

    @classmethod
    def from_tokens(
        cls,
        tokens: list[str],
        slots: list[Slot] | None = None,
        intent: str | None = None,
        location: str = "",
    ) -> Sentence:
        """Return the sentence whose text is `tokens` joined by blanks."""
        starts = []
        start = 0
        for token in tokens:
            starts.append(start)
            start += len(token) + 1
        return cls(" ".join(tokens), tokens, starts, slots, intent, location)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """For each token its first character's location in the text, and that after its last."""
        return [
            (start, start + len(token))
            for start, token in zip(self.starts, self.tokens, strict=True)
        ]

    def span(self, slot: Slot) -> tuple[int, int]:
        """Return the characters of `slot` in the text: its first, and the one after its last."""
        last = slot.end - 1
        return self.starts[slot.start], self.starts[last] + len(self.tokens[last])

    def value(self, slot: Slot) -> str:
        """Return the words of `slot` as they stand in the text."""
        start, end = self.span(slot)
        return self.text[start:end]
