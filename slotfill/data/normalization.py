"""Unicode normalization in linear time."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import Literal
from unicodedata import combining
from unicodedata import normalize as _normalize

_MAX_MARKS = 30
"""Combining marks in a row that normalization sorts, as in the stream-safe format of UAX 15.

Its time grows with the square of their number.
"""


def normalize(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """Return `text` in a normalization form, or as it is if too many marks follow each other."""
    if len(text) > _MAX_MARKS and not text.isascii():
        for is_mark, run in groupby(map(_is_mark, text)):
            if is_mark and len(list(run)) > _MAX_MARKS:
                return text
    return _normalize(form, text)


@lru_cache(1 << 16)
def _is_mark(character: str) -> bool:
    """Return whether the decomposition of `character` begins with a combining mark."""
    return combining(_normalize("NFKD", character)[0]) > 0
