"""Indexers: from tokens to ids, one for each kind of embedding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol
from unicodedata import category

import numpy as np

from slotfill.data.normalization import normalize
from slotfill.data.phrases import PhraseMatcher, lookup_form

PADDING = 0
UNKNOWN = 1
_DIGIT = re.compile(r"\d")
_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_WORD_PART = re.compile(rf"[{_CHINESE}]|[^\W_{_CHINESE}]+|\S")
_MAX_PART_CHARACTERS = 100
"""Of what is split into pieces, as in BERT."""
_MAX_NGRAM_CHARACTERS = 100
"""Of a token, so that a long one does not widen its batch."""


class Indexer(Protocol):
    """Turns the tokens of a batch into the arrays that one embedding takes."""

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]: ...


class TokenIndexer:
    """Tokens to ids: 0 is padding, 1 is out of vocabulary, the rest by decreasing count."""

    def __init__(
        self, counts: Mapping[str, int], *, lowercase: bool, mask_digits: bool, min_count: int
    ) -> None:
        self.lowercase = lowercase
        self.mask_digits = mask_digits
        self.settings = {
            "kind": "token",
            "lowercase": lowercase,
            "mask_digits": mask_digits,
            "min_count": min_count,
        }
        forms = Counter[str]()
        for token, count in counts.items():
            forms[self.normalize(token)] += count
        frequent = {form: count for form, count in forms.most_common() if count >= min_count}
        self.ids = {form: index for index, form in enumerate(frequent, start=2)}
        self.counts = np.array([0, 0, *frequent.values()])

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
    """Tokens to the ids of their first `max_length` characters; 1 is out of vocabulary."""

    def __init__(self, counts: Iterable[str], *, lowercase: bool, max_length: int) -> None:
        self.lowercase = lowercase
        self.max_length = max_length
        self.settings = {"kind": "character", "lowercase": lowercase, "max_length": max_length}
        characters = set("".join(token.lower() if lowercase else token for token in counts))
        self.ids = {character: index for index, character in enumerate(sorted(characters), start=2)}

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return `index_subwords` of the characters."""
        return index_subwords(batch, self._character_ids)

    def _character_ids(self, token: str) -> list[int]:
        form = token.lower() if self.lowercase else token
        return [self.ids.get(character, UNKNOWN) for character in form[: self.max_length]]


class NgramIndexer:
    """Tokens to the ids of their character n-grams, with marks at the start and the end.

    0 is padding, the rest are in the order of `ngrams`; others are left out.
    """

    def __init__(self, ngrams: Sequence[str], *, lowercase: bool) -> None:
        self.lowercase = lowercase
        # Saved because finding them in the training words again takes longer than loading.
        self.settings = {"kind": "ngram", "ngrams": list(ngrams), "lowercase": lowercase}
        self.ids = {ngram: index for index, ngram in enumerate(ngrams, start=1)}
        sizes = set(map(len, ngrams))
        self.sizes = range(min(sizes, default=1), max(sizes, default=0) + 1)
        # Without a cache, a third of a training step.
        self._cached_ids = lru_cache(1 << 14)(self._ngram_ids)

    @classmethod
    def from_words(
        cls, words: Iterable[str], *, lowercase: bool, sizes: range, min_count: int
    ) -> NgramIndexer:
        """Return an indexer of the n-grams of `sizes` in at least `min_count` of `words`."""
        forms = {word.lower() if lowercase else word for word in words}
        counts = Counter(ngram for form in forms for ngram in set(_ngrams(form, sizes)))
        ngrams = sorted(ngram for ngram, count in counts.items() if count >= min_count)
        return cls(ngrams, lowercase=lowercase)

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return `index_subwords` of the n-grams."""
        return index_subwords(batch, self._cached_ids)

    def _ngram_ids(self, token: str) -> list[int]:
        ngrams = _ngrams(token.lower() if self.lowercase else token, self.sizes) if token else ()
        return [self.ids[ngram] for ngram in ngrams if ngram in self.ids]


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
        counts: Iterable[str],
        *,
        file: str,
        lowercase: bool,
    ) -> None:
        self.settings = {"kind": "pretrained", "file": file, "lowercase": lowercase}
        self.file = file
        self.lowercase = lowercase
        self._from_subwords = set(cached_vectors["composed"])
        self.ids = dict.fromkeys(cached_vectors["words"], UNKNOWN)
        training_words = set(map(self._form, counts)) - {""}
        words = sorted(cached_vectors["words"], key=lambda word: word not in training_words)
        self.num_training_words = len(training_words)
        self.ids = {word: index for index, word in enumerate(words, start=2)}

    def _form(self, token: str) -> str:
        """Return the word that `token` is looked up as, or an empty one."""
        if token in self.ids:
            return token
        lower = token.lower()
        return lower if self.lowercase and lower in self.ids else ""

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(batch, time)`; 0 at padding."""
        return (pad([[self.ids.get(self._form(t), UNKNOWN) for t in tokens] for tokens in batch]),)

    def coverage(self, counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """Return vocabulary coverage by type and by token: exact, lowercase, composed, unknown."""
        types, tokens = Counter[str](), Counter[str]()
        for token, count in counts.items():
            form = self._form(token)
            how = "composed" if form in self._from_subwords else "exact"
            if form != token:
                how = "lowercase" if form else "unknown"
            types[how] += 1
            tokens[how] += count
        return {"types": _compute_shares(types), "tokens": _compute_shares(tokens)}


def _compute_shares(counts: Counter[str]) -> dict[str, float]:
    total = max(1, counts.total())
    return {how: counts[how] / total for how in ("exact", "lowercase", "composed", "unknown")}


def fold_case(token: str) -> str:
    """Return `token` in lower case and without accents."""
    letters = normalize("NFD", token.lower())
    return "".join(x for x in letters if category(x) != "Mn") or token


class PieceIndexer:
    """Tokens to the ids of their word pieces; 0 is padding, 1 is a part without pieces.

    A token is split at punctuation, and each part into the longest pieces from left to right. A
    part of which some character is in no piece is unknown.
    """

    def __init__(self, table: Mapping[str, Any], *, file: str) -> None:
        """Take what `StaticTable.to_json` returns."""
        self.settings = {"kind": "piece", "file": file}
        self.file = file
        self.lowercase = table["lowercase"]
        self.ids = {piece: index for index, piece in enumerate(table["pieces"].split("\n"), 1)}
        self._max_length = max(map(len, self.ids))
        self._cached_ids = lru_cache(1 << 14)(self.piece_ids)

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return `index_subwords` of the pieces."""
        return index_subwords(batch, self._cached_ids)

    def piece_ids(self, token: str) -> list[int]:
        """Return the ids of the pieces of `token`."""
        if self.lowercase:
            token = fold_case(token)
        return [piece for part in _WORD_PART.findall(token) for piece in self._split(part)]

    def _split(self, part: str) -> list[int]:
        """Return the ids of the longest pieces of `part`, from left to right."""
        found: list[int] = []
        start = 0
        while start < len(part) <= _MAX_PART_CHARACTERS:
            mark = "##" if start else ""
            for end in range(min(len(part), start + self._max_length), start, -1):
                if (piece := self.ids.get(mark + part[start:end])) is not None:
                    found.append(piece)
                    start = end
                    break
            else:
                return [UNKNOWN]
        return found or [UNKNOWN]

    def coverage(self, counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """Return vocabulary coverage by type and by token; words of several pieces are composed."""
        types, tokens = Counter[str](), Counter[str]()
        for token, count in counts.items():
            pieces = self._cached_ids(token)
            how = "exact" if len(pieces) == 1 else "composed"
            how = "unknown" if UNKNOWN in pieces else how
            types[how] += 1
            tokens[how] += count
        return {"types": _compute_shares(types), "tokens": _compute_shares(tokens)}


class GazetteerIndexer:
    """Tokens to ids that say in which lists a phrase begins at a token, and in which it goes on.

    For list k, counted from 0, 2k + 1 is the first token of a phrase and 2k + 2 any other; 0 is a
    token outside of its phrases, and padding.
    """

    def __init__(self, lists: Sequence[Iterable[str]], *, files: Sequence[str]) -> None:
        self.settings = {"kind": "gazetteer", "files": list(files)}
        self._matchers = list(map(PhraseMatcher, lists))

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(batch, time, lists)`."""
        time = max(map(len, batch), default=0)
        ids = np.zeros((len(batch), time, len(self._matchers)), np.int64)
        for row, tokens in enumerate(batch):
            forms = list(map(lookup_form, tokens))
            for index, matcher in enumerate(self._matchers):
                for start, end in matcher.find_forms(forms):
                    ids[row, start, index] = 2 * index + 1
                    if end > start + 1:
                        ids[row, start + 1 : end, index] = 2 * index + 2
        return (ids,)


Coverage = dict[str, dict[str, Any]]
"""By file of vectors: the number of words `kept`, and the coverage of each split."""


def compute_coverage(
    indexers: Iterable[Indexer], splits: Mapping[str, Iterable[Sequence[str]]]
) -> Coverage:
    """Return the vocabulary coverage of each split by each pretrained indexer."""
    counts = {split: Counter(chain.from_iterable(tokens)) for split, tokens in splits.items()}
    coverage: Coverage = {}
    for indexer in indexers:
        if isinstance(indexer, PretrainedIndexer | PieceIndexer):
            by_split = {split: indexer.coverage(count) for split, count in counts.items()}
            coverage[indexer.file] = {"kept": len(indexer.ids), **by_split}
    return coverage


def index_subwords(
    batch: Sequence[Sequence[str]], subword_ids: Callable[[str], Sequence[int]]
) -> tuple[np.ndarray, ...]:
    """Return subword ids `(unique tokens, subwords)` and token indices `(batch, time)`.

    Padding is 0 in both: the first unique token is empty.
    """
    unique: dict[str, int] = {"": 0}
    rows = [[unique.setdefault(token, len(unique)) for token in tokens] for tokens in batch]
    return pad(list(map(subword_ids, unique)), least=1), pad(rows)


def pad(rows: Sequence[Sequence[int]], least: int = 0) -> np.ndarray:
    """Return `rows` as one array, padded with 0, with at least `least` columns."""
    padded = np.zeros((len(rows), max(map(len, rows), default=0) or least), np.int64)
    for target, ids in zip(padded, rows, strict=True):
        target[: len(ids)] = ids
    return padded
