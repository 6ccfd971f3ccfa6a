"""Tokens to the subwords of a pretrained transformer."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from slotfill.errors import shorten_text

MAX_CACHED_TOKENS = 65536
"""Number of distinct tokens whose subwords are cached."""

PROBES = ("a", "Zürich", "東京", "🛫", "\ue000")
"""Tokens that a tokenizer must split or replace by its unknown one."""


class SubwordIndexer:
    """From sentences to windows of subwords that fit the model, and the token of each subword.

    A token is split on its own, so its subwords do not depend on its neighbours; a token without
    subwords becomes the unknown one. `resources` are what `Transformer` stores of the model, with
    `most`, the maximum number of subwords of a window.

    Raises ValueError if they do not fit each other or a model of `num_ids` and `max_positions`.
    """

    def __init__(
        self, resources: Mapping[str, Any], pooling: str, num_ids: int, max_positions: int
    ) -> None:
        from tokenizers import Tokenizer

        self._unknown, self._padding = resources["unknown"], resources["padding"]
        self._num_ids = num_ids
        self._first_only = pooling == "first"
        self._split = lru_cache(MAX_CACHED_TOKENS)(self._split_safely)
        with _panics_as_errors():
            self._tokenizer = Tokenizer.from_str(json.dumps(resources["tokenizer"]))
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            probed = [subword for token in PROBES for subword in self._encode(token)]
            subwords = self._encode("a") or [self._unknown]
            sentence = self._tokenizer.encode(["a"], is_pretokenized=True).ids
            check_ids(self._tokenizer, num_ids)
        ids = {self._unknown, self._padding, *probed, *sentence}
        if outside := [each for each in ids if not 0 <= each < num_ids]:
            raise ValueError(
                f"its tokenizer has the id {outside[0]}, its model those up to {num_ids - 1}"
            )
        end = len(subwords)
        starts = [i for i in range(len(sentence)) if sentence[i : i + end] == subwords]
        if not starts:
            raise ValueError("its tokenizer splits a sentence otherwise than a token")
        # The special tokens around a sentence, such as [CLS] and [SEP].
        self._before, self._after = sentence[: starts[0]], sentence[starts[0] + end :]
        most = min(resources["most"], max_positions)
        self.max_subwords = most - len(self._before) - len(self._after)
        if self.max_subwords < 1:
            raise ValueError(f"its maximum length, {most}, is too short")

    def _encode(self, token: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(
            [token], is_pretokenized=True, add_special_tokens=False
        ).ids
        return ids

    def _split_safely(self, token: str) -> list[int]:
        """Return the subwords of any token; what the tokenizer or the model lacks is unknown."""
        try:
            ids = self._encode(token)
        except BaseException as error:
            if not isinstance(error, Exception) and not _is_panic(error):
                raise
            ids = []
        known = [each if each < self._num_ids else self._unknown for each in ids]
        return known or [self._unknown]

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


def check_ids(tokenizer: Any, num_ids: int) -> None:
    """Raise ValueError if a tokenizer has a subword without a vector in a model of `num_ids`."""
    # A model may have no vectors of tokens that were added for other tasks.
    added = tokenizer.get_added_tokens_decoder()
    for subword, index in tokenizer.get_vocab(with_added_tokens=False).items():
        if index >= num_ids and index not in added:
            raise ValueError(
                f"its tokenizer has the id {index} of {shorten_text(subword)!r}, its model those up"
                f" to {num_ids - 1}"
            )


def _is_panic(error: BaseException) -> bool:
    """Return whether the code of the tokenizers library in Rust has panicked."""
    return type(error).__name__ == "PanicException"


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Raise ValueError for a panic, without the report that Rust writes to standard error."""
    with TemporaryFile() as written:
        standard_error = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException as error:
            if not _is_panic(error):
                raise
            written.truncate(0)
            raise ValueError(f"its tokenizer has failed: {error}") from None
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            written.seek(0)
            os.write(2, written.read())
