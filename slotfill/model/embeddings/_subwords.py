"""Tokens to the subword pieces that a pretrained transformer reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MOST_KNOWN = 65536
"""How many distinct tokens' pieces are kept before all are forgotten, so that memory does not grow
for ever.
"""


class SubwordIndexer:
    """Sentences to windows of pieces, each within what the model reads at once, and the token that
    each is of.

    `kept` has the `tokenizer` as its JSON file says it, the ids of the `unknown` and of the
    `padding` piece, and the `most` pieces of a window. A token is cut by itself, so that its pieces
    do not depend on its neighbours; one of which the tokenizer leaves nothing is the unknown piece.
    """

    def __init__(self, kept: Mapping[str, Any], pooling: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(json.dumps(kept["tokenizer"]))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown, self._padding = kept["unknown"], kept["padding"]
        self._first_alone = pooling == "first"
        self._known: dict[str, list[int]] = {}
        bare = self._cut("a")
        whole = self._tokenizer.encode(["a"], is_pretokenized=True).ids
        place = next(
            place for place in range(len(whole)) if whole[place : place + len(bare)] == bare
        )
        # What the tokenizer puts around a sentence, such as [CLS] and [SEP].
        self._before, self._after = whole[:place], whole[place + len(bare) :]
        self.room = kept["most"] - len(self._before) - len(self._after)

    def _cut(self, token: str) -> list[int]:
        pieces = self._known.get(token)
        if pieces is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            ids = self._tokenizer.encode(
                [token], is_pretokenized=True, add_special_tokens=False
            ).ids
            pieces = self._known[token] = ids or [self._unknown]
        return pieces

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return pieces `(window, piece)`, their `lengths (window,)`, whose they are, and zeros
        `(batch, time)`.

        Of token t of sentence s, that whose vectors are taken say s * time + t + 1; the others, and
        padding, say 0.
        """
        time = max(map(len, batch), default=0)
        windows: list[tuple[list[int], list[int]]] = []
        for row, tokens in enumerate(batch):
            pieces: list[int] = []
            owners: list[int] = []
            for owner, token in enumerate(tokens, start=row * time + 1):
                cut = self._cut(token)[: self.room]
                if len(pieces) + len(cut) > self.room:
                    windows.append((pieces, owners))
                    pieces, owners = [], []
                pieces = pieces + cut
                owners = owners + [owner] + [0 if self._first_alone else owner] * (len(cut) - 1)
            windows.append((pieces, owners))
        around = len(self._before) + len(self._after)
        lengths = np.array([len(pieces) + around for pieces, _ in windows], np.int64)
        found = np.full((len(windows), int(lengths.max(initial=1))), self._padding, np.int64)
        whose = np.zeros_like(found)
        for row, (pieces, owners) in enumerate(windows):
            found[row, : lengths[row]] = [*self._before, *pieces, *self._after]
            whose[row, len(self._before) : len(self._before) + len(owners)] = owners
        return found, lengths, whose, np.zeros((len(batch), time), np.int64)
