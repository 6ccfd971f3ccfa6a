"""Vocab: what training has seen, as readable JSON, and the lookups from tokens to ids made from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from slotfill.schemes import SlotReader, tag_set, tags_of
from slotfill.sentence import Sentence

PADDING = 0
UNKNOWN = 1
_DIGIT = re.compile(r"\d")


class Lookup(Protocol):
    """From the tokens of a batch to the arrays that one embedding takes."""

    def arrays(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]: ...


class Vocab:
    """The tokens of the training sentences with their counts, the tags, and what parts have `kept` of files.

    Everything else is derived from these, so the same vocabulary always gives the same ids.
    """

    def __init__(
        self, tokens: dict[str, int], tags: list[str], scheme: str, kept: dict[str, dict[str, Any]] | None = None
    ) -> None:
        self.tokens = tokens
        self.tags = tags
        self.scheme = scheme
        self.kept = kept or {}
        # What these parts have taken of their files is saved with the run, and not read again.
        self.saved = frozenset(self.kept)
        self.tag_ids = {tag: index for index, tag in enumerate(tags)}

    @classmethod
    def of(cls, sentences: Iterable[Sentence], scheme: str, kept: dict[str, dict[str, Any]] | None = None) -> Vocab:
        """Return the vocabulary of labelled `sentences`, with the tags that their slots are written in by `scheme`.

        A tag that none of them has, as I-city where cities are one word, would never be given either, but take time.
        `kept` is what the parts of a run that goes on have kept of files.
        """
        counts: Counter[str] = Counter()
        names: set[str] = set()
        seen = {"O"}
        for sentence in sentences:
            counts.update(sentence.tokens)
            slots = sentence.slots or []
            names.update(slot.name for slot in slots)
            seen.update(tags_of(slots, len(sentence.tokens), scheme))
        ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        return cls(ordered, [tag for tag in tag_set(names, scheme) if tag in seen], scheme, kept)

    @cached_property
    def slots_of(self) -> SlotReader:
        """What reads the slots of a sentence from the ids of its tags."""
        return SlotReader(self.tags, self.scheme)

    @cached_property
    def _lowercased(self) -> set[str]:
        return {token.lower() for token in self.tokens}

    @property
    def slot_names(self) -> list[str]:
        """The slots that the tags are of, sorted."""
        return sorted({tag.partition("-")[2] for tag in self.tags} - {""})

    def knows(self, token: str) -> bool:
        """Return whether `token` was in the training sentences, in whatever case."""
        return token in self.tokens or token.lower() in self._lowercased

    def token_lookup(self, *, lowercase: bool, mask_digits: bool, min_count: int) -> TokenLookup:
        """Return the lookup of whole tokens; one seen fewer than `min_count` times is unknown."""
        return TokenLookup(self.tokens, lowercase, mask_digits, min_count)

    def character_lookup(self, *, lowercase: bool, max_length: int) -> CharacterLookup:
        """Return the lookup of the characters of each token, cut after `max_length` of them."""
        return CharacterLookup(self.tokens, lowercase, max_length)

    def kept_lookup(self, *, file: str, lowercase: bool) -> KeptLookup:
        """Return the lookup of the words kept of a file of vectors; those of training have the lowest ids."""
        return KeptLookup(self.kept[file], self.tokens, file, lowercase)

    def lookup(self, settings: Mapping[str, Any]) -> TokenLookup | CharacterLookup | KeptLookup:
        """Return the lookup that has these `settings`."""
        options = dict(settings)
        kinds: dict[str, Callable[..., Any]] = {
            "token": self.token_lookup,
            "character": self.character_lookup,
            "kept": self.kept_lookup,
        }
        return kinds[options.pop("of")](**options)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as what JSON can hold."""
        kept = {"kept": self.kept} if self.kept else {}
        return {"format": 1, "scheme": self.scheme, "tags": self.tags, "tokens": self.tokens, **kept}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Vocab:
        """Return the vocabulary that `to_json` gave."""
        return cls(data["tokens"], data["tags"], data["scheme"], data.get("kept"))


class TokenLookup:
    """Tokens to ids: 0 is padding, 1 is unknown, the rest are by falling count."""

    def __init__(self, counts: dict[str, int], lowercase: bool, mask_digits: bool, min_count: int) -> None:
        self.lowercase = lowercase
        self.mask_digits = mask_digits
        self.settings = {"of": "token", "lowercase": lowercase, "mask_digits": mask_digits, "min_count": min_count}
        forms: dict[str, int] = {}
        for form, count in zip(map(self.normal, counts), counts.values(), strict=True):
            forms[form] = forms.get(form, 0) + count
        kept = sorted((form for form in forms if forms[form] >= min_count), key=forms.__getitem__, reverse=True)
        self.ids = dict(zip(kept, range(2, len(kept) + 2), strict=True))
        self.counts = np.array([0, 0, *map(forms.__getitem__, kept)])

    def normal(self, token: str) -> str:
        """Return `token` as it is looked up: lower-cased, every digit a 0, if so set."""
        if self.lowercase:
            token = token.lower()
        return _DIGIT.sub("0", token) if self.mask_digits else token

    def arrays(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(batch, time)`; 0 at padding."""
        time = max(map(len, batch), default=0)
        ids = np.zeros((len(batch), time), np.int64)
        for row, tokens in zip(ids, batch, strict=True):
            row[: len(tokens)] = [self.ids.get(self.normal(token), UNKNOWN) for token in tokens]
        return (ids,)


class KeptLookup:
    """Tokens to the ids of words kept of a file: 0 is padding, 1 is unknown, then those of training, then others.

    `kept` has the `words`, of which those of `composed` are not in the file itself. A token that is not among them as
    it is written is looked up in lower case, if so set.
    """

    def __init__(self, kept: Mapping[str, Any], counts: Mapping[str, int], file: str, lowercase: bool) -> None:
        self.settings = {"of": "kept", "file": file, "lowercase": lowercase}
        self.file = file
        self.lowercase = lowercase
        words = set(kept["words"])
        self._composed = set(kept["composed"])
        trained = {form for token in counts if (form := self._form(token, words)) is not None}
        self.words = sorted(kept["words"], key=lambda word: word not in trained)
        self.trained = len(trained)
        self.ids = dict(zip(self.words, range(2, len(self.words) + 2), strict=True))

    def _form(self, token: str, words: Container[str]) -> str | None:
        """Return the word that `token` is looked up as, or None where there is none."""
        if token in words:
            return token
        lower = token.lower()
        return lower if self.lowercase and lower in words else None

    def arrays(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(batch, time)`; 0 at padding."""
        time = max(map(len, batch), default=0)
        found = np.zeros((len(batch), time), np.int64)
        for row, tokens in zip(found, batch, strict=True):
            row[: len(tokens)] = [self._id(token) for token in tokens]
        return (found,)

    def _id(self, token: str) -> int:
        form = self._form(token, self.ids)
        return UNKNOWN if form is None else self.ids[form]

    def coverage(self, counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """Return which shares of the types and of the tokens in `counts` are known, and how: they add up to 1."""
        found = {unit: dict.fromkeys(("exact", "lowercase", "composed", "unknown"), 0) for unit in ("types", "tokens")}
        for token, count in counts.items():
            form = self._form(token, self.ids)
            how = "unknown" if form is None else "composed" if form in self._composed else "exact"
            how = "lowercase" if form not in (None, token) else how
            found["types"][how] += 1
            found["tokens"][how] += count
        return {
            unit: {how: number / max(1, sum(numbers.values())) for how, number in numbers.items()}
            for unit, numbers in found.items()
        }


Coverage = dict[str, dict[str, Any]]
"""By file of vectors: how many words are `kept` of it, and for each split how its words are known."""


def coverage_of(lookups: Iterable[Lookup], splits: Mapping[str, Sequence[Sentence]]) -> Coverage:
    """Return how the words of each split are known by those of `lookups` that are of files; empty if none is."""
    counts = {
        split: Counter(token for each in sentences for token in each.tokens) for split, sentences in splits.items()
    }
    return {
        lookup.file: {"kept": len(lookup.ids), **{split: lookup.coverage(each) for split, each in counts.items()}}
        for lookup in lookups
        if isinstance(lookup, KeptLookup)
    }


class CharacterLookup:
    """Tokens to the ids of their characters, each distinct token of a batch spelled once."""

    def __init__(self, counts: dict[str, int], lowercase: bool, max_length: int) -> None:
        self.lowercase = lowercase
        self.max_length = max_length
        self.settings = {"of": "character", "lowercase": lowercase, "max_length": max_length}
        characters = sorted({character for token in counts for character in self.normal(token)})
        self.ids = {character: index for index, character in enumerate(characters, start=2)}

    def normal(self, token: str) -> str:
        """Return `token` as it is spelled."""
        return token.lower() if self.lowercase else token

    def arrays(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return spellings `(token type, character)`, 0 at padding, and which type each token is `(batch, time)`.

        Type 0 is the empty spelling, and stands at the padding of sentences.
        """
        types: dict[str, int] = {"": 0}
        time = max(map(len, batch), default=0)
        index = np.zeros((len(batch), time), np.int64)
        for row, tokens in zip(index, batch, strict=True):
            row[: len(tokens)] = [types.setdefault(token, len(types)) for token in tokens]
        words = [self.normal(token)[: self.max_length] for token in types]
        spellings = np.zeros((len(words), max(1, *map(len, words))), np.int64)
        for row, word in zip(spellings, words, strict=True):
            row[: len(word)] = [self.ids.get(character, UNKNOWN) for character in word]
        return spellings, index
