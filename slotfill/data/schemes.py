"""Tag schemes: tags to slots and back, and which tag may follow which.

    sentence   fly  to  new   york  from  boston
    iob1       O    O   I-to  I-to  O     I-from    B- only after a slot of the same name
    iob2, bio  O    O   B-to  I-to  O     B-from
    bioes      O    O   B-to  E-to  O     S-from    also reads M- as I-
    bilou      O    O   B-to  L-to  O     U-from

A tag sequence is legal if `slots_to_tags` writes it for some slots. An unknown scheme is a
UsageError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from slotfill.data.sentence import Slot
from slotfill.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import numpy as np


class _Scheme(NamedTuple):
    """The letters of a slot's tokens, and those that always begin or end a slot."""

    first: str
    inside: str
    last: str
    only: str
    opening: str
    closing: str

    @property
    def letters(self) -> list[str]:
        return list(dict.fromkeys((self.opening[0], self.inside, self.last, self.only)))


UNKNOWN_TAG = "?"
"""The tag, in files, of a token whose label is not known."""

TAG = re.compile(r"O|\?|[BIESLUM]-\S+")
"""What looks like a tag, of whatever scheme."""

SCHEMES = {
    "iob1": _Scheme("I", "I", "I", "I", opening="B", closing=""),
    "iob2": _Scheme("B", "I", "I", "B", opening="B", closing=""),
    "bio": _Scheme("B", "I", "I", "B", opening="B", closing=""),
    "bioes": _Scheme("B", "I", "E", "S", opening="BS", closing="ES"),
    "bilou": _Scheme("B", "I", "L", "U", opening="BU", closing="LU"),
}

_SCHEME_BY_LETTER = {"E": "bioes", "S": "bioes", "M": "bioes", "L": "bilou", "U": "bilou"}


@lru_cache(maxsize=4096)
def parse_tag(tag: str, scheme: str) -> tuple[str, str]:
    """Return the letter and the slot name of `tag`, empty for O; raises ValueError for others."""
    letters = _scheme(scheme).letters
    if tag == "O":
        return tag, ""
    letter, _, name = tag.partition("-")
    if letter == "M" and scheme == "bioes":  # As in BMES.
        letter = "I"
    if letter in letters and name:
        return letter, name
    if letter in letters:
        raise ValueError(f"tag {tag!r} has no slot name (expected {letter}-NAME)")
    expected = ", ".join(["O", *(f"{allowed}-" for allowed in letters)])
    problem = f"tag {tag!r} is not of scheme {scheme} ({expected})"
    if name and (other := _SCHEME_BY_LETTER.get(letter)):
        kind = "BMES" if letter == "M" else other
        problem += f"; if the tags are {kind}, set data.scheme: {other} (convert: --scheme {other})"
    raise ValueError(problem)


def tags_to_slots(tags: Sequence[str], scheme: str) -> list[Slot]:
    """Return the slots that `tags` mark; illegal sequences are read as conlleval reads them."""
    tag_ids = {tag: index for index, tag in enumerate(dict.fromkeys(tags))}
    return TagDecoder(list(tag_ids), scheme)([tag_ids[tag] for tag in tags])


class TagDecoder:
    """Converts tag ids, positions in `tags`, to the slots that `tags_to_slots` returns."""

    def __init__(self, tags: Sequence[str], scheme: str) -> None:
        opening, closing = _scheme(scheme)[-2:]
        parsed = [parse_tag(tag, scheme) for tag in tags]
        letters = [letter for letter, _ in parsed]
        self._names = [name for _, name in parsed]
        self._opening = {index for index, letter in enumerate(letters) if letter in opening}
        self._closing = {index for index, letter in enumerate(letters) if letter in closing}
        self.is_unique = scheme != "iob1"
        """Whether exactly one legal sequence of tags stands for a slot, whatever is around it."""

    def __call__(self, tags: Sequence[int]) -> list[Slot]:
        names, opening, closing = self._names, self._opening, self._closing
        slots = []
        start, current = 0, ""
        for position, tag in enumerate(tags):
            name = names[tag]
            if name != current or tag in opening:
                if current:
                    slots.append(Slot(current, start, position))
                start, current = position, name
            if tag in closing:
                slots.append(Slot(name, start, position + 1))
                current = ""
        if current:
            slots.append(Slot(current, start, len(tags)))
        return slots

    def find_tags(self, name: str) -> list[int]:
        """Return the ids of the tags of the slot `name`."""
        return [index for index, own in enumerate(self._names) if own == name]

    @cached_property
    def continues(self) -> np.ndarray:
        """Whether the second tag continues the slot of the first, `(tags, tags)`."""
        import numpy as np  # Reading and writing files do not need it.

        names, ids = np.array(self._names), np.arange(len(self._names))
        same = (names[:, None] == names) & (names != "")
        return same & ~np.isin(ids, [*self._closing])[:, None] & ~np.isin(ids, [*self._opening])

    @cached_property
    def continuations(self) -> np.ndarray:
        """The first tag that continues the slot of each tag, `(tags,)`; -1 if there is none."""
        continuations: np.ndarray = self.continues.argmax(axis=1)
        continuations[~self.continues.any(axis=1)] = -1
        return continuations


def slots_to_tags(slots: Sequence[Slot], length: int, scheme: str) -> list[str]:
    """Return the tags of a sentence of `length` tokens with these slots, in order."""
    kind = _scheme(scheme)
    tags = ["O"] * length
    previous = Slot("", 0, 0)
    for slot in slots:
        name, start, end = slot
        inside = end - start - 2
        letters = kind.only if inside < 0 else kind.first + kind.inside * inside + kind.last
        if scheme == "iob1" and (previous.name, previous.end) == (name, start):
            letters = "B" + letters[1:]
        tags[start:end] = [f"{letter}-{name}" for letter in letters]
        previous = slot
    return tags


def is_cut(slot: Slot, tags: Sequence[str], scheme: str) -> bool:
    """Return whether `tags` say that a slot goes on where the tag is unknown, as I-x after `?`."""
    kind = _scheme(scheme)
    starts = [f"{letter}-{slot.name}" for letter in kind.opening + kind.first]
    is_after_unknown = slot.start > 0 and tags[slot.start - 1] == UNKNOWN_TAG
    if is_after_unknown and tags[slot.start] not in starts:
        return True
    if UNKNOWN_TAG not in tags[slot.end : slot.end + 1]:
        return False
    if kind.closing:
        return tags[slot.end - 1][0] not in kind.closing
    rest = map(tags.__getitem__, range(slot.end, len(tags)))
    following = next((tag for tag in rest if tag != UNKNOWN_TAG), "O")
    return following == f"{kind.inside}-{slot.name}" and following not in starts


def all_tags(names: Iterable[str], scheme: str) -> list[str]:
    """Return every tag that slots of these names can have: O first, then by name."""
    letters = _scheme(scheme).letters
    return ["O", *(f"{letter}-{name}" for name in sorted(set(names)) for letter in letters)]


def may_follow(before: str, after: str, scheme: str) -> bool:
    """Return whether `after` can follow `before` in a legal sentence.

    A sentence can begin with what can follow O, and end with what O can follow.
    """
    kind = _scheme(scheme)
    (letter, name), (next_letter, next_name) = parse_tag(before, scheme), parse_tag(after, scheme)
    if next_letter in ("O", kind.first, kind.only):
        return letter == "O" or not kind.closing or letter in kind.closing
    return letter not in kind.closing and name == next_name


def check_scheme(name: str) -> None:
    """Raise UsageError if there is no tag scheme of this name."""
    _scheme(name)


def _scheme(name: str) -> _Scheme:
    if not isinstance(name, str) or name not in SCHEMES:
        raise UsageError(f"unknown tag scheme '{name}'{did_you_mean(name, SCHEMES)}")
    return SCHEMES[name]
