"""Lists of phrases, such as the names of cities, and where they occur in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from slotfill.data.normalization import normalize
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError
from slotfill.files import read_lines

_MAX_TOKENS = 100
"""Of a phrase in a list: a sentence is searched for all that follows each of its tokens."""

_ROOT = 0
"""The node of a trie at which every phrase begins."""


@lru_cache(1 << 16)
def lookup_form(token: str) -> str:
    """Return `token` as phrases are compared: without case, in the normalization form NFKC."""
    form = normalize("NFKC", token).casefold()
    return form.replace(" ", "") or token  # The form of some accents begins with a space.


def read_phrases(path: Path, tokenizer: Tokenizer) -> list[str]:
    """Return the distinct phrases of a text file, one a line, as lookup forms joined by spaces.

    Raises DataError if the file has none, or one that is too long, or cannot be read.
    """
    phrases: dict[str, None] = {}
    for number, line in read_lines(path):
        phrase = phrase_form(line, tokenizer)
        if (size := phrase.count(" ") + 1) > _MAX_TOKENS:
            problem = f"a phrase of {size:,} tokens; at most {_MAX_TOKENS} are allowed"
            raise DataError(f"{path}:{number}: {problem}: give one phrase a line")
        phrases[phrase] = None
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
        # Nodes are numbers, since nested ones could not be copied: a phrase may have any length.
        self._next: dict[tuple[int, str], int] = {}
        self._ends: set[int] = set()
        for phrase in phrases:
            node = _ROOT
            for token in phrase.split(" "):
                node = self._next.setdefault((node, token), len(self._next) + 1)
            self._ends.add(node)

    def find(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """Return the first token and the last (exclusive) of each phrase in `tokens`.

        From left to right, the longest phrase at each position; phrases do not overlap.
        """
        return self.find_forms(list(map(lookup_form, tokens)))

    def find_forms(self, forms: Sequence[str]) -> list[tuple[int, int]]:
        """Return what `find` returns, for tokens whose lookup forms are `forms`."""
        found = []
        done = 0
        for start in range(len(forms)):
            if start < done:
                continue
            node, longest = _ROOT, 0
            for position in range(start, len(forms)):
                node = self._next.get((node, forms[position]), _ROOT)
                if node == _ROOT:
                    break
                if node in self._ends:
                    longest = position + 1
            if longest:
                found.append((start, longest))
                done = longest
        return found
