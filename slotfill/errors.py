"""Every error a user can cause, each with the exit code the command line ends with.

SlotfillError
├── UsageError   2   a command was called the wrong way
├── ConfigError  2   a config holds faults; all of them are listed
├── DataError    3   a file of sentences cannot be read as what it should be
└── RunError     1   a run failed, or its folder is not whole
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class SlotfillError(Exception):
    """A mistake that can be mended by who made it: its text is the one line they see."""

    exit_code = 1


class UsageError(SlotfillError):
    """A command was called with something it cannot use."""

    exit_code = 2


class ConfigError(SlotfillError):
    """A config has faults, one line each."""

    exit_code = 2

    def __init__(self, faults: Sequence[str] | str) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class DataError(SlotfillError):
    """A file of sentences cannot be read; the text begins with `file:line:`."""

    exit_code = 3


class RunError(SlotfillError):
    """Training failed, or a run folder cannot be used."""

    exit_code = 1


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return the end of a message on an unknown `word`: the nearest allowed one and the whole list."""
    names = sorted(allowed)
    near = get_close_matches(str(word).lower(), names, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{hint} (allowed: {', '.join(names) or 'none'})"
