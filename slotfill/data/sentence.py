"""Sentences: a text, its tokens and its slots; and examples, as files hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from io import StringIO
from itertools import accumulate
from sys import intern
from typing import Any, NamedTuple

from slotfill.data.offsets import find_value
from slotfill.errors import DataError, shorten_text

INTENT_SEPARATOR = "#"
"""Separates the intents of a sentence that has several."""

_MAX_LISTED = 20
"""How many keys or files are named in a message."""


def intent_names(intent: str | None) -> list[str]:
    """Return the distinct names in an intent such as `flight#airfare`; none if it is None."""
    names = (name.strip() for name in (intent or "").split(INTENT_SEPARATOR))
    return list(dict.fromkeys(name for name in names if name))


class Slot(NamedTuple):
    """A named run of tokens; `end` is exclusive."""

    name: str
    start: int
    end: int

    def overlaps(self, other: Slot) -> bool:
        """Return whether the slots have a token in common."""
        return self.start < other.end and other.start < self.end


class Span(NamedTuple):
    """A named run of characters, `text[start:end]`."""

    name: str
    start: int
    end: int
    resolved: str | None = None
    """What its value stands for, such as Taipei for TPE, if the file says so."""


class Reading(NamedTuple):
    """A complete analysis of a sentence."""

    slots: list[Slot]
    intent: str | None
    """One or more names; None if intents are not learned."""
    probability: float


class Confidence(NamedTuple):
    """The probabilities of what a model predicts for a sentence."""

    slots: list[float]
    """The probability of each slot."""
    reading: float
    """The probability of the slots together: that of the predicted tag sequence."""
    intent: float | None = None
    """The probability of the intent, or of the predicted set of intents; None without one."""
    candidates: tuple[tuple[str, float], ...] = ()
    """The most probable intents, each with its probability, if the best is below its threshold."""
    in_domain: float = 1.0
    """How much the sentence is like those of training, see `in_domain_score`."""
    readings: tuple[Reading, ...] = ()
    """The most probable readings, if they were asked for."""


class Issue(NamedTuple):
    """A repair made while reading a file, or what was left out."""

    kind: str
    """`repaired tag`, `corrected offset`, `overlap`, `left out`, `not read`, `extra` and others."""
    location: str
    """`file:line`."""
    message: str
    """What was changed."""


@dataclass(slots=True)
class Example:
    """A text with labelled spans, as a file holds it, before tokenization."""

    text: str
    spans: list[Span] | None = None
    """In any order; None if the text is unlabelled."""
    intent: str | None = None
    location: str = ""
    """`file:line`."""
    offsets: list[tuple[int, int]] | None = None
    """The first and the last character (exclusive) of each token, if the file has tokens."""
    issues: list[Issue] | tuple[()] = ()
    """Added by `add_issue`."""
    unknown: Sequence[tuple[int, int]] = ()
    """The first and the last character (exclusive) of each part whose labels are not known."""
    split: str | None = None
    """The split that the file says it belongs to, as train; None if it says none."""
    extra: dict[str, Any] | None = None
    """What else the file has for the text, by key, such as an id or other columns."""
    problems: list[str] | tuple[()] = ()
    """Why it cannot be used, a line each, which begins with `file:line:`; see `add_problem`."""

    def add_span(
        self,
        name: str,
        start: int,
        end: int,
        value: str | None = None,
        resolved: str | None = None,
    ) -> None:
        """Add a slot, with its offsets corrected if the text there is not `value`.

        That `value` is not in the text is one of the `problems`.
        """
        if value and (self.text[start:end] != value or end > len(self.text)):
            found = find_value(self.text, start, end, value)
            if found is None:
                found_there = shorten_text(self.text[start:end])
                self.add_problem(
                    f"{self.location}: slot '{name}' has the value {value!r}, which is not in the"
                    f" text; from {start} to {end} it reads {found_there!r}"
                )
                return
            first, last, reason = found
            if reason:
                correction = f"{start} to {end} read as {first} to {last} ({reason})"
                self.add_issue("corrected offset", f"slot '{name}' ({value!r}): {correction}")
            start, end = first, last
        if self.spans is None:
            self.spans = []
        self.spans.append(Span(name, start, end, resolved))

    def leave_out(self, what: str) -> None:
        """Note something of the file that a sentence cannot hold, as `the group '1'`."""
        self.add_issue("left out", what)

    def list_unread(
        self, names: Sequence[str], kind: str = "key", extra: dict[str, Any] | None = None
    ) -> None:
        """Note keys (or columns) of the file that are neither text, slots nor intents, if any.

        Those that are in `extra`, or inside of what is there, are kept.
        """
        if extra:
            self.extra = extra
        kept, others = list[str](), list[str]()
        for name in names:
            is_kept = extra and (name in extra or name.partition(".")[0] in extra)
            (kept if is_kept else others).append(name)
        for issue_kind, group in (("extra", kept), ("not read", others)):
            for message in describe_unread(group, kind):
                self.add_issue(issue_kind, intern(message))  # It is that of most sentences.

    def add_issue(self, kind: str, message: str, location: str = "") -> None:
        """Note an `Issue`, of the location of the example without one of its own."""
        self.issues = self.issues or []  # Empty lists of a million sentences would take memory.
        self.issues.append(Issue(kind, location or self.location, message))

    def add_problem(self, problem: str) -> None:
        """Note why it cannot be used."""
        self.problems = self.problems or []
        self.problems.append(problem)


def unreadable(error: DataError) -> Example:
    """Return what stands for an example that cannot be read, with the problems of `error`."""
    return Example("", problems=[*error.messages])


def describe_unread(names: Sequence[str], kind: str = "key") -> Iterator[str]:
    """Yield `the key "id"`, or more of a kind in one text; nothing if there are none."""
    if names:
        more = f" and {len(names) - _MAX_LISTED} more" if names[_MAX_LISTED:] else ""
        listed = ", ".join(f'"{name}"' for name in names[:_MAX_LISTED])
        yield f"the {kind}{'s' * (len(names) > 1)} {listed}{more}, not read"


def example_from_parts(
    parts: Iterable[tuple[str, str, str | None]], location: str, intent: str | None = None
) -> Example:
    """Return the example of a text in parts: each with its slot name, empty for none, and value.

    The value is what the part is resolved to, or None.
    """
    text, spans = StringIO(), []
    for part, name, resolved in parts:
        start = text.tell()
        text.write(part)
        if name:
            spans.append(Span(name, start, text.tell(), resolved))
    return Example(text.getvalue(), spans, intent, location)


@dataclass(slots=True)
class Sentence:
    """A text, its tokens with their offsets in the text, and its slots."""

    text: str
    tokens: list[str]
    """As they are looked up: Unicode-normalized; `surface_forms` has them as in the text."""
    offsets: list[tuple[int, int]]
    """The first and the last character (exclusive) of each token."""
    slots: list[Slot] | None = None
    """In order, without overlaps; None if the sentence is unlabelled."""
    intent: str | None = None
    """One or more names, see `intent_names`."""
    location: str = ""
    """`file:line`, or empty."""
    pretokenized: bool = False
    """Whether the tokens are those of the file, not the tokenizer's."""
    issues: tuple[Issue, ...] = ()
    unknown: Sequence[tuple[int, int]] = ()
    """The first and the last token (exclusive) of each part whose labels are not known."""
    resolved: list[str | None] | None = None
    """What the value of each slot stands for, if the run resolves values."""
    confidence: Confidence | None = None
    """The probabilities of the slots and the intent, if they are predicted with them."""
    intent_left_out: bool = False
    """Whether the predicted intent is below its threshold, and `intent` therefore None."""
    extra: dict[str, Any] | None = None
    """What else the file has for the text, if it is written again, see `Example`."""

    @classmethod
    def from_tokens(
        cls,
        tokens: list[str],
        slots: list[Slot] | None = None,
        intent: str | None = None,
        location: str = "",
    ) -> Sentence:
        """Return the sentence whose text is `tokens` joined by spaces."""
        offsets = token_offsets(tokens)
        return cls(" ".join(tokens), tokens, offsets, slots, intent, location, pretokenized=True)

    def with_reading(self, reading: Reading) -> Sentence:
        """Return the sentence with the slots and the intent of `reading` alone."""
        slots, intent = reading.slots, reading.intent
        return replace(
            self, slots=slots, intent=intent, resolved=None, confidence=None, intent_left_out=False
        )

    @property
    def surface_forms(self) -> list[str]:
        """The tokens as they appear in the text."""
        return [self.text[start:end] for start, end in self.offsets]

    @property
    def labels(self) -> set[tuple[str, str]]:
        """The names of its slots and its intents, each after its kind: slot or intent."""
        slots = {("slot", slot.name) for slot in self.slots or ()}
        return slots | {("intent", name) for name in intent_names(self.intent)}

    def filter_known(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """Return those of predicted `slots` that do not touch a token whose label is not known."""
        if not self.unknown:
            return slots
        unknown = {token for start, end in self.unknown for token in range(start, end)}
        return [slot for slot in slots if unknown.isdisjoint(range(slot.start, slot.end))]

    def span(self, slot: Slot) -> tuple[int, int]:
        """Return the first and the last character (exclusive) of `slot`."""
        return self.offsets[slot.start][0], self.offsets[slot.end - 1][1]

    def value(self, slot: Slot) -> str:
        """Return the characters of `slot`."""
        start, end = self.span(slot)
        return self.text[start:end]

    def slot_to_json(self, slot: Slot) -> dict[str, Any]:
        """Return `slot` as it is in JSON lines: its name, its value and its character offsets."""
        start, end = self.span(slot)
        return {"name": slot.name, "value": self.text[start:end], "start": start, "end": end}

    def split_by_slot(self) -> Iterator[tuple[str, str]]:
        """Yield the parts of the text, each with the name of its slot, which is empty for none."""
        done = 0
        for slot in self.slots or ():
            start, end = self.span(slot)
            yield self.text[done:start], ""
            yield self.text[start:end], slot.name
            done = end
        yield self.text[done:], ""


def hash_sentences(sentences: Iterable[Sentence]) -> str:
    """Return a SHA-256 checksum of texts, tokens and labels; not of where they were read."""
    checksum = sha256()
    for row in sentences:
        content = row.text, row.tokens, row.slots, row.intent, [*row.unknown]
        checksum.update(repr(content).encode(errors="surrogatepass"))
    return checksum.hexdigest()


def token_offsets(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return the offsets of `tokens` in a text where they are joined by spaces."""
    starts = accumulate((len(token) + 1 for token in tokens), initial=0)
    return [(start, start + len(token)) for start, token in zip(starts, tokens, strict=False)]


MAX_TOKENS = 20_000
"""Longest sentence that is tagged; memory grows with its length, or its square with attention."""

MAX_CHARACTERS = 50 * MAX_TOKENS
"""Longest text of a sentence that is tagged."""


def check_size(size: int, unit: str, allowed: int, location: str = "") -> None:
    """Raise DataError if a sentence has more than `allowed` tokens or characters."""
    if size > allowed:
        problem = f"a sentence of {size:,} {unit}s; at most {allowed:,} are allowed"
        where = f"{location}: " if location else ""
        raise DataError(f"{where}{problem}: give one sentence a line")
