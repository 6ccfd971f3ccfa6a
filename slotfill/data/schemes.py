"""Tag schemes: tags to slots and back, and which tag may follow which.

    sentence   fly  to  new   york  from  boston
    iob1       O    O   I-to  I-to  O     I-from    B- only after a slot of the same name
    iob2, bio  O    O   B-to  I-to  O     B-from
    bioes      O    O   B-to  E-to  O     S-from
    bilou      O    O   B-to  L-to  O     U-from

A tag sequence is legal if `slots_to_tags` writes it for some slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from slotfill.data.sentence import Slot
from slotfill.errors import UsageError, did_you_mean


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


_IOB1 = _Scheme("I", "I", "I", "I", opening="B", closing="")
_IOB2 = _Scheme("B", "I", "I", "B", opening="B", closing="")
_BIOES = _Scheme("B", "I", "E", "S", opening="BS", closing="ES")
_BILOU = _Scheme("B", "I", "L", "U", opening="BU", closing="LU")
_SCHEMES = {"iob1": _IOB1, "iob2": _IOB2, "bio": _IOB2, "bioes": _BIOES, "bilou": _BILOU}

SCHEMES = tuple(_SCHEMES)


@lru_cache(maxsize=4096)
def parse_tag(tag: str, scheme: str) -> tuple[str, str]:
    """Return the letter and the slot name of `tag`; the name of O is empty.

    Raises:
        ValueError: The tag is not of the scheme.
        UsageError: The scheme is unknown.
    """
    letters = _scheme(scheme).letters
    if tag == "O":
        return tag, ""
    letter, _, name = tag.partition("-")
    if letter in letters and name:
        return letter, name
    if letter in letters:
        raise ValueError(f"tag {tag!r} has no slot name (expected {letter}-NAME)")
    expected = ", ".join(["O", *(f"{allowed}-" for allowed in letters)])
    others = [other for other in ("bioes", "bilou") if name and letter in _SCHEMES[other].letters]
    hint = f"; if the tags are {others[0]}," if others else ""
    if letter == "M" and name:
        others, hint = ["bioes"], "; if the tags are BMES, replace M- by I- and"
    if others:
        hint += f" set data.scheme: {others[0]} (convert: --scheme {others[0]})"
    raise ValueError(f"tag {tag!r} is not of scheme {scheme} ({expected}){hint}")


def tags_to_slots(tags: Sequence[str], scheme: str) -> list[Slot]:
    """Return the slots that `tags` mark; illegal sequences are read as conlleval reads them.

    Raises what `parse_tag` raises.
    """
    tag_ids = {tag: index for index, tag in enumerate(dict.fromkeys(tags))}
    return TagDecoder(list(tag_ids), scheme)([tag_ids[tag] for tag in tags])


class TagDecoder:
    """Converts tag ids, positions in `tags`, to the slots that `tags_to_slots` returns.

    Built once for many sentences; raises what `parse_tag` raises.
    """

    def __init__(self, tags: Sequence[str], scheme: str) -> None:
        opening, closing = _scheme(scheme)[-2:]
        letters = [parse_tag(tag, scheme)[0] for tag in tags]
        self._names = [parse_tag(tag, scheme)[1] for tag in tags]
        self._opening = {index for index, letter in enumerate(letters) if letter in opening}
        self._closing = {index for index, letter in enumerate(letters) if letter in closing}

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


def slots_to_tags(slots: Sequence[Slot], length: int, scheme: str) -> list[str]:
    """Return the tags of a sentence of `length` tokens with these slots, in order.

    Raises UsageError for an unknown scheme.
    """
    kind = _scheme(scheme)
    tags = ["O"] * length
    before = None
    for slot in slots:
        inside = slot.end - slot.start - 2
        letters = kind.only if inside < 0 else kind.first + kind.inside * inside + kind.last
        if kind is _IOB1 and before and before.end == slot.start and before.name == slot.name:
            letters = "B" + letters[1:]
        tags[slot.start : slot.end] = [f"{letter}-{slot.name}" for letter in letters]
        before = slot
    return tags


def all_tags(names: Iterable[str], scheme: str) -> list[str]:
    """Return every tag that slots of these names can have: O first, then by name.

    Raises UsageError for an unknown scheme.
    """
    letters = _scheme(scheme).letters
    return ["O", *(f"{letter}-{name}" for name in sorted(set(names)) for letter in letters)]


def may_start(tag: str, scheme: str) -> bool:
    """Return whether a legal sentence can begin with `tag`; raises what `parse_tag` raises."""
    letter, _ = parse_tag(tag, scheme)
    return letter in ("O", _scheme(scheme).first, _scheme(scheme).only)


def may_end(tag: str, scheme: str) -> bool:
    """Return whether a legal sentence can end with `tag`; raises what `parse_tag` raises."""
    letter, _ = parse_tag(tag, scheme)
    closing = _scheme(scheme).closing
    return letter == "O" or not closing or letter in closing


def may_follow(before: str, after: str, scheme: str) -> bool:
    """Return whether `after` can follow `before` in a legal sentence; raises as `parse_tag`."""
    if may_start(after, scheme):
        return may_end(before, scheme)
    letter, name = parse_tag(before, scheme)
    return letter not in _scheme(scheme).closing and name == parse_tag(after, scheme)[1]


def _scheme(name: str) -> _Scheme:
    if name not in _SCHEMES:
        raise UsageError(f"unknown tag scheme '{name}'{did_you_mean(name, SCHEMES)}")
    return _SCHEMES[name]
