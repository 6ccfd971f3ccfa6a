"""Raw text -> tokens with character offsets; the text itself is never changed.

Each character is given a kind, a single letter, so that a tokenizer is a regular expression over
the kinds, as long as the text: its matches are the tokens. Python's `re` alone cannot tell a
combining mark, without which Hindi, Thai and Arabic words would fall apart.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from slotfill.data.sentence import Sentence
from slotfill.errors import UsageError, did_you_mean

# The kinds: a letter, d digit, m what sits on the character before it, z zero-width joiner, i
# written without blanks (one character a token), f half a flag, _ blank, x any other, and ' . , :
# as they are.
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
    # Without width, yet they part words (as Thai is often written) or stand for nothing (a
    # byte-order mark).
    **dict.fromkeys("\u200b\ufeff", "_"),
    **dict.fromkeys(map(chr, range(0x1F1E6, 0x1F200)), "f"),
    # Skin tones.
    **dict.fromkeys(map(chr, range(0x1F3FB, 0x1F400)), "m"),
}

# In characters: what is as short as a word comes again and is worth remembering.
_SHORT = 16


def tokenize(text: str, tokenizer: str, place: str = "") -> Sentence:
    """Return `text` as a sentence without labels; raises UsageError when there is no such
    tokenizer.
    """
    if tokenizer not in _TOKENS:
        raise UsageError(f"unknown tokenizer '{tokenizer}'{did_you_mean(tokenizer, TOKENIZERS)}")
    words = tokenizer != "characters"
    tokens = []
    starts = []
    start = 0
    # No token holds a blank, nor depends on what is beyond one, so the pieces between blanks are
    # cut one by one.
    for piece in text.split(" "):
        if words and piece.isalnum() and piece.isascii():
            tokens.append(piece)
            starts.append(start)
        else:
            spans = (
                _spans(piece, tokenizer) if len(piece) > _SHORT else _short_spans(piece, tokenizer)
            )
            for first, last in spans:
                tokens.append(piece[first:last])
                starts.append(start + first)
        start += len(piece) + 1
    return Sentence(text, tokens, starts, location=place)


def _spans(piece: str, tokenizer: str) -> list[tuple[int, int]]:
    """Return, for each token of `piece`, its first character and the one after its last."""
    return [match.span() for match in _TOKENS[tokenizer].finditer(piece.translate(_KIND_OF))]


_short_spans = lru_cache(maxsize=8192)(_spans)


class _KindOf(dict[int, str]):
    """The kind of each character by its number, found when first asked for; at most 65,536 are
    kept.
    """

    def __missing__(self, number: int) -> str:
        kind = _kind(chr(number))
        if len(self) < 65536:
            self[number] = kind
        return kind


_KIND_OF = _KindOf()


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
