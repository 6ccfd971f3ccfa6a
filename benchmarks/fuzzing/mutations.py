"""Mutations of inputs: entries of JSON replaced, and tokens replaced, moved or added."""

from __future__ import annotations

import json
import random
import re
from typing import Any

_TOKENS = (
    *(char.encode() for char in "\"'[]{}():,\\\n\r\t #-|>\0\x7f\x85\xa0\ufeff\u2028\u202e\u0301🛫"),
    *(b"\xff", b"&a", b"*a", b"!!", b"\x1b[31m", b"-DOCSTART-", b"B-x", b"O", b"?"),
    *(b"0", b"-1", b"1e400", b"NaN", b"null", b"true", b"9" * 5000),
)
_WINDOW = 4096
_VALUES = (None, True, -1, 2**70, 0.5, 1e308, "", "x", "\0", "\ud800", [], {}, [[]], ["a", "a"])


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Return `data` with an entry of JSON replaced, or a few tokens replaced, moved or added."""
    if draw.random() < 0.5:
        try:
            value = json.loads(data)
            return json.dumps(_mutate_json(value, draw), ensure_ascii=draw.random() < 0.5).encode(
                errors="surrogatepass"
            )
        except (ValueError, RecursionError):
            pass
    start = draw.randrange(max(1, len(data) - _WINDOW))  # To split a large file takes long.
    end = start + _WINDOW
    pieces = re.split(rb"(\W)", data[start:end])
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(pieces) + 1)
        length = draw.choice((0, 0, 1, 1, 2, 10))
        token = draw.choice((*_TOKENS, b"", draw.choice(pieces)))
        pieces[at : at + length] = [token] * draw.choice((1, 1, 1, 2, 100))
    return data[:start] + b"".join(pieces) + data[end:]


def _mutate_json(value: Any, draw: random.Random) -> Any:
    if isinstance(value, (dict, list)) and value and draw.random() < 0.8:
        key = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        if draw.random() < 0.1:
            del value[key]
        elif isinstance(value, dict) and draw.random() < 0.1:
            value[draw.choice(("", "x", "text", "\ud800", "name"))] = value.pop(key)
        else:
            value[key] = _mutate_json(value[key], draw)
        return value
    if isinstance(value, str) and draw.random() < 0.7:  # Most other values are refused at once.
        at = draw.randrange(len(value) + 1)
        token = draw.choice(_TOKENS).decode(errors="replace")
        return value[:at] + token + value[at + draw.choice((0, 0, 1, 3)) :]
    if isinstance(value, int) and draw.random() < 0.5:
        return value + draw.choice((-1, 1))
    return draw.choice(_VALUES)
