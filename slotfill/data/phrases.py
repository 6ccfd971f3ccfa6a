"""Lists of phrases, such as the names of cities, and where they occur in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from slotfill.data.normalization import normalize
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError
from slotfill.files import read_lines

_END = ""
"""The key that marks the end of a phrase in a trie; no token is empty."""


@lru_cache(1 << 16)
def lookup_form(token: str) -> str:
    """Return `token` as phrases are compared: without case, in the normalization form NFKC."""
    form = normalize("NFKC", token).casefold()
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
        return self.find_forms(list(map(lookup_form, tokens)))

    def find_forms(self, forms: Sequence[str]) -> list[tuple[int, int]]:
        """Return what `find` returns, for tokens whose lookup forms are `forms`."""
        found = []
        done = 0
        for start, form in enumerate(forms):
            node = self._trie.get(form)
            if node is None or start < done:
                continue
            position, longest = start + 1, 0
            while node is not None:
                if _END in node:
                    longest = position
                node = node.get(forms[position]) if position < len(forms) else None
                position += 1
            if longest:
                found.append((start, longest))
                done = longest
        return found
