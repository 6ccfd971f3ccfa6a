"""Where each key of a config is set: in a line of its file, or on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from slotfill.errors import ErrorDetail

_AFTER_ALL_LINES = 10**9


@dataclass(frozen=True)
class Locations:
    """The line of each key in the file `name`, and the keys that overrides set.

    All locations are equal, so that configs are compared by their values alone.
    """

    name: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    overridden: Set[str] = field(default=frozenset(), compare=False)

    def sort(self, errors: Iterable[ErrorDetail]) -> list[ErrorDetail]:
        """Return each error once and with its source, those on the command line last."""
        lines = {error: self._line(error) for error in errors}
        located = []
        for error in sorted(lines, key=lines.__getitem__):
            is_override = lines[error] == _AFTER_ALL_LINES
            source = "command line" if is_override else f"{self.name}:{lines[error]}"
            source = error.source or (source if error.key else self.name)
            located.append(replace(error, source=source))
        return located

    def _line(self, error: ErrorDetail) -> int:
        """Return the line of the key that has the error, or of the nearest key above it."""
        key = error.key
        while key and key not in self.lines and not self._is_overridden(key):
            key = key.rpartition(".")[0]
        if error.source or (key not in self.lines and self._is_overridden(key)):
            return _AFTER_ALL_LINES
        return self.lines.get(key, 1)

    def _is_overridden(self, key: str) -> bool:
        """Whether an override set the key, or one below it."""
        return any(is_within(override, key) for override in self.overridden)


def is_within(key: str, section: str) -> bool:
    """Whether `key` is `section` or below it."""
    return f"{key}.".startswith(f"{section}.") or not section
