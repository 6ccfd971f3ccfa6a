"""The order in which sentences are labelled: uncertain, typical, and unlike earlier ones.

    score(x) = -log P(y | x) * mean over all sentences u of cos(v_x, v_u)
               * (1 - max over the earlier sentences e of cos(v_x, v_e))

P(y | x) is the probability of the slots that a run predicts for x; without a run the first factor
is 1. v_x is the sum of a random vector for each word, weighted by its inverse document frequency,
so that the cosine is high where sentences share rare words. Without the second factor, outliers
come first, of which nothing is learned for others (docs/log.md).

Source: Settles & Craven 2008, "An Analysis of Active Learning Strategies for Sequence Labeling
Tasks", section 3 (information density); random vectors: Achlioptas 2003, "Database-friendly random
projections"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np

SIZE = 256
"""Size of the vectors."""


class Ranking:
    """Which of several sentences is the most useful one to label next."""

    def __init__(
        self, sentences: Sequence[Sequence[str]], earlier: Iterable[Sequence[str]]
    ) -> None:
        """Rank `sentences` by their tokens, given those that are labelled already."""
        earlier = list(earlier)
        words = [[token.lower() for token in tokens] for tokens in (*sentences, *earlier)]
        counts = Counter(word for tokens in words for word in set(tokens))
        table = {
            word: np.log(len(words) / count + 1) * _random_vector(word)
            for word, count in counts.items()
        }
        vectors = np.zeros((len(words), SIZE), np.float32)
        for row, tokens in enumerate(words):
            for token in tokens:
                vectors[row] += table[token]
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        self._vectors = vectors[: len(sentences)]
        mean = self._vectors.mean(axis=0) if len(sentences) else np.zeros(SIZE)
        # A little above 0, for sentences that are like no other.
        self._density = np.maximum(self._vectors @ mean, 1e-3)
        """The mean cosine to all sentences."""
        self._uncertainty = np.ones(len(sentences))
        """-log P(y | x) of each sentence; 1 where nothing is predicted."""
        self._similarity = np.zeros(len(sentences))
        """The largest cosine to an earlier sentence."""
        self._is_left = np.ones(len(sentences), bool)
        for vector in vectors[len(sentences) :]:
            self._observe(vector)

    def set_confidences(self, confidences: Sequence[float]) -> None:
        """Take the probability P(y | x) of each sentence."""
        self._uncertainty = -np.log(np.maximum(confidences, 1e-300))

    def next(self) -> int | None:
        """Return the index of the best sentence that is left; None if none is."""
        if not self._is_left.any():
            return None
        scores = self._uncertainty * self._density * np.maximum(1 - self._similarity, 0)
        return int(np.where(self._is_left, scores, -1).argmax())

    def take(self, index: int) -> None:
        """Take a sentence out, and prefer those that are unlike it."""
        self._is_left[index] = False
        self._observe(self._vectors[index])

    def put_back(self, index: int) -> None:
        """Undo `take`, except for what it preferred."""
        self._is_left[index] = True

    def _observe(self, vector: np.ndarray) -> None:
        self._similarity = np.maximum(self._similarity, self._vectors @ vector)


def _random_vector(word: str) -> np.ndarray:
    """Return the vector of a word, of -1 and 1, always the same one."""
    return np.random.default_rng(crc32(word.encode())).choice([-1.0, 1.0], SIZE)
