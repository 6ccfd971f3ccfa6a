"""Tokens to the subwords of a pretrained transformer."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

MAX_CACHED_TOKENS = 65536
"""Number of distinct tokens whose subwords are cached."""


class SubwordIndexer:
    """From sentences to windows of subwords that fit the model, and the token of each subword.

    A token is split on its own, so its subwords do not depend on its neighbours; a token without
    subwords becomes the unknown one. `resources` are what `Transformer` stores of the model, with
    `most`, the maximum number of subwords of a window.
    """

    def __init__(self, resources: Mapping[str, Any], pooling: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(json.dumps(resources["tokenizer"]))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown, self._padding = resources["unknown"], resources["padding"]
        self._first_only = pooling == "first"
        self._split = lru_cache(MAX_CACHED_TOKENS)(self._encode)
        subwords = self._split("a")
        sentence = self._tokenizer.encode(["a"], is_pretokenized=True).ids
        end = len(subwords)
        start = next(i for i in range(len(sentence)) if sentence[i : i + end] == subwords)
        # The special tokens around a sentence, such as [CLS] and [SEP].
        self._before, self._after = sentence[:start], sentence[start + end :]
        self.max_subwords = resources["most"] - len(self._before) - len(self._after)

    def _encode(self, token: str) -> list[int]:
        options = {"is_pretokenized": True, "add_special_tokens": False}
        return self._tokenizer.encode([token], **options).ids or [self._unknown]

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return ids `(window, subword)`, lengths `(window,)`, positions and zeros `(batch, time)`.

        The position of a subword of token t in sentence s is s * time + t + 1; it is 0 for subwords
        that are not pooled and for padding.
        """
        time = max(map(len, batch), default=0)
        windows: list[tuple[list[int], list[int]]] = []
        for row, tokens in enumerate(batch):
            subwords: list[int] = []
            positions: list[int] = []
            for position, token in enumerate(tokens, start=row * time + 1):
                token_subwords = self._split(token)[: self.max_subwords]
                if len(subwords) + len(token_subwords) > self.max_subwords:
                    windows.append((subwords, positions))
                    subwords, positions = [], []
                subwords = subwords + token_subwords
                other_position = 0 if self._first_only else position
                positions = [*positions, position, *[other_position] * (len(token_subwords) - 1)]
            windows.append((subwords, positions))
        num_special = len(self._before) + len(self._after)
        lengths = np.array([len(subwords) + num_special for subwords, _ in windows], np.int64)
        ids = np.full((len(windows), int(lengths.max(initial=1))), self._padding, np.int64)
        position_ids = np.zeros_like(ids)
        for row, (subwords, positions) in enumerate(windows):
            ids[row, : lengths[row]] = [*self._before, *subwords, *self._after]
            position_ids[row, len(self._before) : len(self._before) + len(positions)] = positions
        return ids, lengths, position_ids, np.zeros((len(batch), time), np.int64)
