"""Lists of phrases, such as the names of cities, and where they occur in a sentence."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError
from slotfill.files import read_lines

_END = ""
"""The key that marks the end of a phrase in a trie; no token is empty."""


@lru_cache(1 << 16)
def lookup_form(token: str) -> str:
    """Return `token` as phrases are compared: without case, in the normalization form NFKC."""
    form = unicodedata.normalize("NFKC", token).casefold()
    return form.replace(" ", "") or token  # The form of some accents begins with a space.


def read_phrases(path: Path, tokenizer: Tokenizer) -> list[str]:
    """Return the distinct phrases of a text file, one a line, as lookup forms joined by spaces.

    Raises DataError if the file has none, or cannot be read.
    """
    phrases = dict.fromkeys(phrase_form(line, tokenizer) for _, line in read_lines(path))
    phrases.pop("", None)
    if not phrases:
        raise DataError(f"{path}: the file has no phrases; write one a line")
    return list(phrases)


def phrase_form(text: str, tokenizer: Tokenizer) -> str:
    """Return the lookup forms of the tokens of `text`, joined by spaces."""
    return " ".join(map(lookup_form, tokenizer.tokenize(text).tokens))


class PhraseMatcher:
    """Finds the phrases of a list in a sentence, by a trie of their tokens."""

    def __init__(self, phrases: Iterable[str]) -> None:
        """Take phrases as `read_phrases` returns them."""
        self._trie: dict[str, Any] = {}
        for phrase in phrases:
            node = self._trie
            for token in phrase.split(" "):
                node = node.setdefault(token, {})
            node[_END] = {}

    def find(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """Return the first token and the last (exclusive) of each phrase in `tokens`.

        From left to right, the longest phrase at each position; phrases do not overlap.
        """
        found = []
        forms = list(map(lookup_form, tokens))
        start = 0
        while start < len(forms):
            node, end = self._trie.get(forms[start]), start
            for position in range(start + 1, len(forms) + 1):
                if node is None:
                    break
                if _END in node:
                    end = position
                node = node.get(forms[position]) if position < len(forms) else None
            if end > start:
                found.append((start, end))
            start = max(end, start + 1)
        return found
