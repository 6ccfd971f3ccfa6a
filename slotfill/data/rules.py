"""Rules: regular expressions and lists that fill a slot, or veto what is predicted for it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slotfill.data.phrases import PhraseMatcher
from slotfill.data.sentence import Sentence, Slot

VALUE_GROUP = "value"
"""The group of a pattern that is the value; without it, the complete match is."""


class Rules:
    """The rules of a run, in the order of its config.

    A rule of action `fill` makes what it matches a slot with the confidence 1; what the network
    predicts for any of these tokens is left out. Of rules that match the same token, the first
    counts. A rule of action `veto` removes a slot of the network whose complete value it matches.
    """

    def __init__(self, settings: Sequence[Mapping[str, Any]] = ()) -> None:
        """Take rules as in a config, but with the `phrases` of a list; raises re.error."""
        rules = [(rule["action"], rule["slot"], _matcher(rule)) for rule in settings]
        self._fills = [(slot, matcher) for action, slot, matcher in rules if action == "fill"]
        self._vetoes = [(slot, matcher) for action, slot, matcher in rules if action == "veto"]

    def __bool__(self) -> bool:
        return bool(self._fills or self._vetoes)

    def fill(self, sentence: Sentence) -> list[Slot]:
        """Return the slots that rules fill, in the order of the rules."""
        filled: list[Slot] = []
        for name, matcher in self._fills:
            for start, end in matcher.find(sentence):
                slot = Slot(name, start, end)
                if not any(map(slot.overlaps, filled)):
                    filled.append(slot)
        return filled

    def apply(
        self, sentence: Sentence, slots: Sequence[Slot], confidences: Sequence[float]
    ) -> tuple[list[Slot], list[float]]:
        """Return the slots of a sentence after all rules, and their confidences."""
        filled = self.fill(sentence)
        kept = [(slot, 1.0) for slot in filled]
        for slot, confidence in zip(slots, confidences, strict=True):
            if not any(map(slot.overlaps, filled)) and not self._is_vetoed(sentence, slot):
                kept.append((slot, confidence))
        kept.sort(key=lambda pair: pair[0].start)
        return [slot for slot, _ in kept], [confidence for _, confidence in kept]

    def _is_vetoed(self, sentence: Sentence, slot: Slot) -> bool:
        return any(
            name == slot.name and matcher.matches(sentence, slot) for name, matcher in self._vetoes
        )


class _ListMatcher:
    """Matches the phrases of a list."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self._matcher = PhraseMatcher(phrases)

    def find(self, sentence: Sentence) -> list[tuple[int, int]]:
        return self._matcher.find(sentence.tokens)

    def matches(self, sentence: Sentence, slot: Slot) -> bool:
        tokens = sentence.tokens[slot.start : slot.end]
        return self._matcher.find(tokens) == [(0, len(tokens))]


class _PatternMatcher:
    """Matches a regular expression in the text."""

    def __init__(self, pattern: str) -> None:
        with warnings.catch_warnings():  # A config refuses what is ambiguous; a run has it.
            warnings.simplefilter("ignore", FutureWarning)
            self._pattern = re.compile(pattern)
        self._group = VALUE_GROUP if VALUE_GROUP in self._pattern.groupindex else 0

    def find(self, sentence: Sentence) -> Iterator[tuple[int, int]]:
        """Yield the first token and the last (exclusive) of each match of complete tokens.

        White space at either end of a match does not count.
        """
        spans = []
        for match in self._pattern.finditer(sentence.text):
            value, start = match[self._group] or "", match.start(self._group)
            start += len(value) - len(value.lstrip())
            spans.append((start, start + len(value.strip())))
        if not spans:
            return
        starts = {start: index for index, (start, _) in enumerate(sentence.offsets)}
        ends = {end: index + 1 for index, (_, end) in enumerate(sentence.offsets)}
        for start, end in spans:
            if start < end and start in starts and end in ends:
                yield starts[start], ends[end]

    def matches(self, sentence: Sentence, slot: Slot) -> bool:
        return self._pattern.fullmatch(sentence.value(slot)) is not None


def _matcher(rule: Mapping[str, Any]) -> _ListMatcher | _PatternMatcher:
    if pattern := rule.get("pattern"):
        return _PatternMatcher(pattern)
    return _ListMatcher(rule.get("phrases") or ())
