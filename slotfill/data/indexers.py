"""From tokens to ids: a lookup for each kind of embedding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

PADDING = 0
UNKNOWN = 1
_DIGIT = re.compile(r"\d")
_LONGEST = 100
"""Characters of a token that are cut into n-grams, so that a long one does not widen its batch
without end.
"""


class Indexer(Protocol):
    """From the tokens of a batch to the arrays that one embedding takes."""

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]: ...


class TokenIndexer:
    """Tokens to ids: 0 is padding, 1 is unknown, the rest are by falling count."""

    def __init__(
        self, counts: dict[str, int], lowercase: bool, mask_digits: bool, min_count: int
    ) -> None:
        self.lowercase = lowercase
        self.mask_digits = mask_digits
        self.settings = {
            "of": "token",
            "lowercase": lowercase,
            "mask_digits": mask_digits,
            "min_count": min_count,
        }
        forms: dict[str, int] = {}
        for form, count in zip(map(self.normalize, counts), counts.values(), strict=True):
            forms[form] = forms.get(form, 0) + count
        kept = sorted(
            (form for form in forms if forms[form] >= min_count),
            key=forms.__getitem__,
            reverse=True,
        )
        self.ids = dict(zip(kept, range(2, len(kept) + 2), strict=True))
        self.counts = np.array([0, 0, *map(forms.__getitem__, kept)])

    def normalize(self, token: str) -> str:
        """Return `token` as it is looked up: lower-cased, every digit a 0, if so set."""
        if self.lowercase:
            token = token.lower()
        return _DIGIT.sub("0", token) if self.mask_digits else token

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(batch, time)`; 0 at padding."""
        time = max(map(len, batch), default=0)
        ids = np.zeros((len(batch), time), np.int64)
        for row, tokens in zip(ids, batch, strict=True):
            row[: len(tokens)] = [self.ids.get(self.normalize(token), UNKNOWN) for token in tokens]
        return (ids,)


class CharacterIndexer:
    """Tokens to the ids of their characters, each distinct token of a batch spelled once."""

    def __init__(self, counts: dict[str, int], lowercase: bool, max_length: int) -> None:
        self.lowercase = lowercase
        self.max_length = max_length
        self.settings = {"of": "character", "lowercase": lowercase, "max_length": max_length}
        characters = sorted({character for token in counts for character in self.normalize(token)})
        self.ids = {character: index for index, character in enumerate(characters, start=2)}

    def normalize(self, token: str) -> str:
        """Return `token` as it is spelled."""
        return token.lower() if self.lowercase else token

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return spellings `(token type, character)`, 0 at padding, and which type each token is
        `(batch, time)`.

        Type 0 is the empty spelling, and stands at the padding of sentences.
        """
        types, index = _types(batch)
        words = [self.normalize(token)[: self.max_length] for token in types]
        return _rows(
            [[self.ids.get(character, UNKNOWN) for character in word] for word in words]
        ), index


class NgramIndexer:
    """Tokens to the ids of those of `ngrams` that are in them, a mark before the first and behind
    the last character.

    0 is padding, the rest are in the order of `ngrams`.
    """

    def __init__(self, ngrams: Sequence[str], lowercase: bool) -> None:
        self.lowercase = lowercase
        # The n-grams themselves, since finding them anew in the words of training takes longer than
        # to start.
        self.settings = {"of": "ngram", "ngrams": list(ngrams), "lowercase": lowercase}
        self.ids = dict(zip(ngrams, range(1, len(ngrams) + 1), strict=True))
        sizes = {len(ngram) for ngram in ngrams}
        self.sizes = range(min(sizes, default=1), max(sizes, default=0) + 1)
        # Cutting each word of each batch anew would take a third of a step of training; the most
        # frequent are enough.
        self._known = lru_cache(1 << 14)(self._cut)

    @classmethod
    def from_words(
        cls, words: Iterable[str], lowercase: bool, sizes: range, min_count: int
    ) -> NgramIndexer:
        """Return the lookup of n-grams of `sizes` that at least `min_count` of `words` have."""
        forms = {word.lower() if lowercase else word for word in words}
        found = Counter(ngram for form in forms for ngram in set(_ngrams(form, sizes)))
        return cls(sorted(ngram for ngram, count in found.items() if count >= min_count), lowercase)

    def _cut(self, token: str) -> list[int]:
        form = token.lower() if self.lowercase else token
        return [
            id for ngram in _ngrams(form, self.sizes) if (id := self.ids.get(ngram)) is not None
        ]

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return n-grams `(token type, n-gram)`, 0 at padding, and which type each token is
        `(batch, time)`.

        Type 0 is the empty token, and stands at the padding of sentences.
        """
        types, index = _types(batch)
        return _rows([self._known(token) if token else [] for token in types]), index


def _ngrams(word: str, sizes: range) -> list[str]:
    marked = f"\x02{word[:_LONGEST]}\x03"
    return [
        marked[place : place + size] for size in sizes for place in range(len(marked) - size + 1)
    ]


class PretrainedIndexer:
    """Tokens to the ids of words kept of a file: 0 is padding, 1 is unknown, then those of
    training, then others.

    `kept` has the `words`, of which those of `composed` are not in the file itself. A token that is
    not among them as it is written is looked up in lower case, if so set.
    """

    def __init__(
        self, kept: Mapping[str, Any], counts: Mapping[str, int], file: str, lowercase: bool
    ) -> None:
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

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
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
        """Return which shares of the types and of the tokens in `counts` are known, and how: they
        add up to 1.
        """
        found = {
            unit: dict.fromkeys(("exact", "lowercase", "composed", "unknown"), 0)
            for unit in ("types", "tokens")
        }
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
"""By file of vectors: how many words are `kept` of it, and for each split how its words are known.
"""


def compute_coverage(
    indexers: Iterable[Indexer], splits: Mapping[str, Iterable[Sequence[str]]]
) -> Coverage:
    """Return how the tokens of each split's sentences are known by those of `indexers` that are of
    files.
    """
    counts = {
        split: Counter(token for tokens in sentences for token in tokens)
        for split, sentences in splits.items()
    }
    return {
        indexer.file: {
            "kept": len(indexer.ids),
            **{split: indexer.coverage(each) for split, each in counts.items()},
        }
        for indexer in indexers
        if isinstance(indexer, PretrainedIndexer)
    }


def _types(batch: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Return the distinct tokens of a batch after an empty one, and which each token is `(batch,
    time)`.
    """
    types: dict[str, int] = {"": 0}
    time = max(map(len, batch), default=0)
    index = np.zeros((len(batch), time), np.int64)
    for row, tokens in zip(index, batch, strict=True):
        row[: len(tokens)] = [types.setdefault(token, len(types)) for token in tokens]
    return list(types), index


def _rows(ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Return `ids` as rows of one array, 0 behind them, at least one wide."""
    rows = np.zeros((len(ids), max(1, *map(len, ids))), np.int64)
    for row, each in zip(rows, ids, strict=True):
        row[: len(each)] = each
    return rows
