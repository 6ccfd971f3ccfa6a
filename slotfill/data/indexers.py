"""Indexers: from tokens to ids, one for each kind of embedding."""

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
_MAX_NGRAM_CHARACTERS = 100
"""Of a token, so that a long one does not widen its batch."""


class Indexer(Protocol):
    """Turns the tokens of a batch into the arrays that one embedding takes."""

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]: ...


class TokenIndexer:
    """Tokens to ids: 0 is padding, 1 is out of vocabulary, the rest by decreasing count."""

    def __init__(
        self, counts: dict[str, int], lowercase: bool, mask_digits: bool, min_count: int
    ) -> None:
        self.lowercase = lowercase
        self.mask_digits = mask_digits
        self.settings = {
            "kind": "token",
            "lowercase": lowercase,
            "mask_digits": mask_digits,
            "min_count": min_count,
        }
        forms: dict[str, int] = {}
        for form, count in zip(map(self.normalize, counts), counts.values(), strict=True):
            forms[form] = forms.get(form, 0) + count
        frequent_forms = [form for form in forms if forms[form] >= min_count]
        frequent_forms.sort(key=forms.__getitem__, reverse=True)
        self.ids = dict(zip(frequent_forms, range(2, len(frequent_forms) + 2), strict=True))
        self.counts = np.array([0, 0, *map(forms.__getitem__, frequent_forms)])

    def normalize(self, token: str) -> str:
        """Return `token` as it is looked up: in lower case and with digits 0, if so set."""
        if self.lowercase:
            token = token.lower()
        return _DIGIT.sub("0", token) if self.mask_digits else token

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(batch, time)`; 0 at padding."""
        rows = [[self.ids.get(self.normalize(t), UNKNOWN) for t in tokens] for tokens in batch]
        return (pad(rows),)


class CharacterIndexer:
    """Tokens to the ids of their characters, once for each distinct token of a batch."""

    def __init__(self, counts: dict[str, int], lowercase: bool, max_length: int) -> None:
        self.lowercase = lowercase
        self.max_length = max_length
        self.settings = {"kind": "character", "lowercase": lowercase, "max_length": max_length}
        characters = sorted({character for token in counts for character in self.normalize(token)})
        self.ids = {character: index for index, character in enumerate(characters, start=2)}

    def normalize(self, token: str) -> str:
        """Return `token` in lower case, if so set."""
        return token.lower() if self.lowercase else token

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return character ids `(unique tokens, characters)` and token indices `(batch, time)`.

        Padding is 0 in both: the first unique token is empty.
        """
        unique_tokens, token_index = _unique_tokens(batch)
        words = [self.normalize(token)[: self.max_length] for token in unique_tokens]
        ids = [[self.ids.get(character, UNKNOWN) for character in word] for word in words]
        return pad(ids, least=1), token_index


class NgramIndexer:
    """Tokens to the ids of their character n-grams, with marks at the start and the end.

    0 is padding, the rest are in the order of `ngrams`. N-grams that are not in it are left out.
    """

    def __init__(self, ngrams: Sequence[str], lowercase: bool) -> None:
        self.lowercase = lowercase
        # Saved because finding them in the training words again takes longer than loading.
        self.settings = {"kind": "ngram", "ngrams": list(ngrams), "lowercase": lowercase}
        self.ids = dict(zip(ngrams, range(1, len(ngrams) + 1), strict=True))
        sizes = {len(ngram) for ngram in ngrams}
        self.sizes = range(min(sizes, default=1), max(sizes, default=0) + 1)
        # Without a cache, a third of a training step.
        self._cached_ids = lru_cache(1 << 14)(self._ngram_ids)

    @classmethod
    def from_words(
        cls, words: Iterable[str], lowercase: bool, sizes: range, min_count: int
    ) -> NgramIndexer:
        """Return an indexer of the n-grams of `sizes` in at least `min_count` of `words`."""
        forms = {word.lower() if lowercase else word for word in words}
        counts = Counter(ngram for form in forms for ngram in set(_ngrams(form, sizes)))
        ngrams = [ngram for ngram, count in counts.items() if count >= min_count]
        return cls(sorted(ngrams), lowercase)

    def _ngram_ids(self, token: str) -> list[int]:
        ngrams = _ngrams(token.lower() if self.lowercase else token, self.sizes)
        return [self.ids[ngram] for ngram in ngrams if ngram in self.ids]

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return n-gram ids `(unique tokens, n-grams)` and token indices `(batch, time)`.

        Padding is 0 in both: the first unique token is empty.
        """
        unique_tokens, token_index = _unique_tokens(batch)
        ids = [self._cached_ids(token) if token else [] for token in unique_tokens]
        return pad(ids, least=1), token_index


def _ngrams(word: str, sizes: range) -> list[str]:
    marked = f"\x02{word[:_MAX_NGRAM_CHARACTERS]}\x03"
    end = len(marked) + 1
    return [marked[start : start + size] for size in sizes for start in range(end - size)]


class PretrainedIndexer:
    """Tokens to the ids of words with pretrained vectors.

    0 is padding, 1 is out of vocabulary, then come the words of training, then all others. A token
    without a vector is looked up in lower case, if so set. `cached_vectors` has the `words`, and
    those whose vectors are `composed` from subwords.
    """

    def __init__(
        self,
        cached_vectors: Mapping[str, Any],
        counts: Mapping[str, int],
        file: str,
        lowercase: bool,
    ) -> None:
        self.settings = {"kind": "pretrained", "file": file, "lowercase": lowercase}
        self.file = file
        self.lowercase = lowercase
        words = set(cached_vectors["words"])
        self._from_subwords = set(cached_vectors["composed"])
        training_words = {self._form(token, words) for token in counts} - {None}
        self.words = sorted(cached_vectors["words"], key=lambda word: word not in training_words)
        self.num_training_words = len(training_words)
        self.ids = dict(zip(self.words, range(2, len(self.words) + 2), strict=True))

    def _form(self, token: str, words: Container[str]) -> str | None:
        """Return the word that `token` is looked up as, or None."""
        if token in words:
            return token
        lower = token.lower()
        return lower if self.lowercase and lower in words else None

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(batch, time)`; 0 at padding."""
        forms = ((self._form(token, self.ids) for token in tokens) for tokens in batch)
        return (pad([[self.ids.get(form or "", UNKNOWN) for form in row] for row in forms]),)

    def coverage(self, counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """Return vocabulary coverage by type and by token: exact, lowercase, composed, unknown."""
        coverage = {
            unit: dict.fromkeys(("exact", "lowercase", "composed", "unknown"), 0)
            for unit in ("types", "tokens")
        }
        for token, count in counts.items():
            form = self._form(token, self.ids)
            how = "composed" if form in self._from_subwords else "exact"
            if form != token:
                how = "unknown" if form is None else "lowercase"
            coverage["types"][how] += 1
            coverage["tokens"][how] += count
        return {
            unit: {how: number / max(1, sum(numbers.values())) for how, number in numbers.items()}
            for unit, numbers in coverage.items()
        }


Coverage = dict[str, dict[str, Any]]
"""By file of vectors: the number of words `kept`, and the coverage of each split."""


def compute_coverage(
    indexers: Iterable[Indexer], splits: Mapping[str, Iterable[Sequence[str]]]
) -> Coverage:
    """Return the vocabulary coverage of each split by each pretrained indexer."""
    counts = {
        split: Counter(token for tokens in sentences for token in tokens)
        for split, sentences in splits.items()
    }
    return {
        indexer.file: {
            "kept": len(indexer.ids),
            **{split: indexer.coverage(tokens) for split, tokens in counts.items()},
        }
        for indexer in indexers
        if isinstance(indexer, PretrainedIndexer)
    }


def _unique_tokens(batch: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Return the distinct tokens of a batch after an empty one, and indices `(batch, time)`."""
    unique_tokens: dict[str, int] = {"": 0}
    rows = [[unique_tokens.setdefault(t, len(unique_tokens)) for t in tokens] for tokens in batch]
    return list(unique_tokens), pad(rows)


def pad(rows: Sequence[Sequence[int]], least: int = 0) -> np.ndarray:
    """Return `rows` as one array, padded with 0, with at least `least` columns."""
    padded = np.zeros((len(rows), max(map(len, rows), default=0) or least), np.int64)
    for target, ids in zip(padded, rows, strict=True):
        target[: len(ids)] = ids
    return padded
