"""Shards: the parts of a piece of work that the jobs of an array do, each on its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from slotfill.errors import UsageError

_Item = TypeVar("_Item")


class Shard(NamedTuple):
    """The part `number`, from 0, of `total`."""

    number: int
    total: int

    def select(self, items: Sequence[_Item]) -> list[_Item]:
        """Return every `total`-th of `items`."""
        return list(items[self.number :: self.total])


ALL = Shard(0, 1)


def parse_shard(text: str | None) -> Shard:
    """Return the shard `K/N`, where K is from 1 to N; None is all of the work.

    Raises UsageError for another text.
    """
    if text is None:
        return ALL
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text, re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: must be K/N with K from 1 to N, at most 99999, as 3/64")
    return Shard(int(match[1]) - 1, int(match[2]))
