"""Raw text -> tokens with character offsets; the text itself is never changed.

Each character is given a kind, a single letter, so that a tokenizer is a regular expression over the
kinds, as long as the text: its matches are the tokens. Python's `re` alone cannot tell a combining mark,
without which Hindi, Thai and Arabic words would fall apart.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from slotfill.errors import UsageError, did_you_mean
from slotfill.sentence import Sentence

# The kinds: a letter, d digit, m what sits on the character before it, z zero-width joiner, i written
# without blanks (one character a token), f half a flag, _ blank, x any other, and ' . , : as they are.
_CLUSTER = r"(?:ff|[^_])m*(?:z+[^_m]?m*)*"
_RUN = r"[adm][admz]*"
_WORD = rf"{_RUN}(?:(?:['.](?=[ad])|(?<=d)[,:](?=d)){_RUN})*"

_TOKENS = {
    "whitespace": re.compile(r"[^_]+"),
    "words": re.compile(rf"{_WORD}|{_CLUSTER}"),
    "characters": re.compile(_CLUSTER),
}
TOKENIZERS = tuple(_TOKENS)

_ALONE = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff]"
)
_KINDS = {
    **{char: char for char in ".,:"},
    **dict.fromkeys("'\u2019", "'"),
    "_": "a",
    "\u200d": "z",
    # Without width, yet they part words (as Thai is often written) or stand for nothing (a byte-order mark).
    **dict.fromkeys("\u200b\ufeff", "_"),
    **dict.fromkeys(map(chr, range(0x1F1E6, 0x1F200)), "f"),
    # Skin tones.
    **dict.fromkeys(map(chr, range(0x1F3FB, 0x1F400)), "m"),
}


def token_offsets(text: str, tokenizer: str) -> list[tuple[int, int]]:
    """Return, for each token of `text`, its first character and the one after its last.

    Raises UsageError when there is no such tokenizer.
    """
    if tokenizer not in _TOKENS:
        raise UsageError(f"unknown tokenizer '{tokenizer}'{did_you_mean(tokenizer, TOKENIZERS)}")
    kinds = "".join(map(_kind, text))
    return [match.span() for match in _TOKENS[tokenizer].finditer(kinds)]


def sentence_of(text: str, tokenizer: str, place: str = "") -> Sentence:
    """Return `text` as a sentence without labels; raises UsageError when there is no such tokenizer."""
    offsets = token_offsets(text, tokenizer)
    return Sentence(text, [text[start:end] for start, end in offsets], offsets, place=place)


@lru_cache(maxsize=65536)
def _kind(char: str) -> str:
    if char in _KINDS:
        return _KINDS[char]
    if char.isspace():
        return "_"
    category = unicodedata.category(char)
    if category[0] == "M" or category == "Cf":
        return "m"
    if _ALONE.match(char) and category[0] in "LN":
        return "i"
    return {"L": "a", "N": "d"}.get(category[0], "x")
