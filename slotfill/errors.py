"""Errors that a user can cause, each with the exit code that the command line ends with.

SlotfillError
├── UsageError   2   a command was called the wrong way
├── ConfigError  2   a config has errors; all of them are listed
├── DataError    3   a file of sentences cannot be read as its format
└── RunError     1   a run failed, or its folder is damaged
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

_FLAGS = [
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in code) + "\U000e007f"
    for code in ("gbeng", "gbsct", "gbwls")
]
"""The emoji of England, Scotland and Wales, which have invisible letters."""

_CONTROL = re.compile(
    f"({'|'.join(_FLAGS)})|"
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u180e\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e007f]"
)
"""Control characters except tab, line separators, what changes the direction of text, bytes that
are not UTF-8, and invisible characters except those that words and emoji need, as joiners."""


def escape(text: str) -> str:
    r"""Return `text` in one line that any output takes: with control characters as `\u001b`.

    One beyond U+FFFF is two of these, as in JSON.
    """
    return _CONTROL.sub(_escape_match, text)


def _escape_match(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return match[1] or re.sub("(....)", r"\\u\1", units)


_MAX_MESSAGES = 20

_MAX_LENGTH = 2000
"""A longer message has something of a file that is longer than anyone reads."""


def limit_messages(messages: Sequence[str], noun: str = "error") -> list[str]:
    """Return the first of `messages`, and how many more there are of the `noun`."""
    more = len(messages) - _MAX_MESSAGES
    listed = list(messages[:_MAX_MESSAGES])
    return [*listed, f"and {format_count(more, f'more {noun}')}"] if more > 0 else listed


class SlotfillError(Exception):
    """An error that the user can fix; each argument is a message of one line."""

    exit_code = 1

    @property
    def messages(self) -> list[str]:
        """One line for each problem, without the middle of a very long one."""
        lines = [escape(str(message)) for message in self.args]
        half = _MAX_LENGTH // 2
        return [
            f"{line[:half]}…{line[-half:]}" if len(line) > _MAX_LENGTH else line for line in lines
        ]

    def __str__(self) -> str:
        return "\n".join(limit_messages(self.messages))


class UsageError(SlotfillError):
    """A command was called with something it cannot use."""

    exit_code = 2


_MAX_KEY = 200
"""Up to so many characters of a key are shown."""


@dataclass(frozen=True)
class ErrorDetail:
    """One error in a config."""

    message: str
    key: str = ""
    """The config key with dots, such as `encoder.cell.name`."""
    source: str = ""
    """Where the key is set: `file:line` or `command line`."""

    def __str__(self) -> str:
        key = shorten_text(self.key, _MAX_KEY)
        return ": ".join(filter(None, (self.source, key, self.message)))


class ConfigError(SlotfillError):
    """A config has errors, one or several.

    Args:
        errors: The errors, or the message of a single one.
        key: The key of that single error; a part gives its own option, and the registry adds the
            key of the part.
    """

    exit_code = 2

    def __init__(self, errors: Sequence[ErrorDetail] | str, key: str = "") -> None:
        self.errors = [ErrorDetail(errors, key)] if isinstance(errors, str) else list(errors)
        super().__init__(self.errors)

    @property
    def messages(self) -> list[str]:
        """One line for each error."""
        return [escape(str(error)) for error in self.errors]


class DataError(SlotfillError):
    """A file of sentences cannot be read; the text begins with `file:line:`."""

    exit_code = 3


class RunError(SlotfillError):
    """Training failed, or a run folder cannot be used."""


def format_count(count: int, noun: str) -> str:
    """Return `1 sentence` or `2,000 sentences`, for a `noun` whose plural ends in s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


_MAX_ALLOWED = 30
"""Up to so many allowed words are listed after the nearest one."""


def shorten_text(text: str, size: int = 40) -> str:
    """Return `text`, or its beginning with an ellipsis if it has more than `size` characters."""
    return text if len(text) <= size else f"{text[: size - 1]}…"


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return the end of a message on an unknown `word`: the nearest allowed word, and all."""
    names = sorted(allowed)
    lowercased = {name.lower(): name for name in names}
    near = get_close_matches(str(word).lower(), lowercased, n=1, cutoff=0.6)
    hint = f"; did you mean '{lowercased[near[0]]}'?" if near else ""
    if near and len(names) > _MAX_ALLOWED:
        return hint
    return f"{hint} (allowed: {', '.join(names) or 'none'})"
