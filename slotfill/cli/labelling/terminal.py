"""A terminal that gives single keys, and shows a few lines that change in place."""

from __future__ import annotations

import codecs
import os
import re
import select
import shutil
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.text import Text

from slotfill.cli.display import PlainConsole
from slotfill.errors import UsageError, escape

_NAMES = {
    "\r": "enter",
    "\n": "enter",
    " ": "space",
    "\t": "tab",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x1b": "escape",
    "\x03": "ctrl-c",
    "\x04": "ctrl-d",
    "\x1a": "ctrl-z",
    **{f"\x1b{mark}C": "right" for mark in "[O"},
    **{f"\x1b{mark}D": "left" for mark in "[O"},
    **{f"\x1b{mark}H": "home" for mark in "[O"},
    **{f"\x1b{mark}F": "end" for mark in "[O"},
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b[3~": "delete",
    "\x1b[1;2C": "shift-right",
    "\x1b[1;2D": "shift-left",
}
"""The names of keys by what the terminal sends; all others are their character."""

_KEY = re.compile(r"\x1b[\[O][0-9;]*[ -/]*[@-~]|.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b([\[O][0-9;]*)?$")
_REVERSED = re.compile(r"\x1b\[(?:\d+;)*7[;m]")
_ESCAPE_SECONDS = 0.05
"""What belongs to a key comes within so many seconds."""


class Terminal:
    """The terminal of standard input and output, within a `with` block."""

    def __init__(self) -> None:
        """Raises UsageError if there is no terminal, or none that can do what is needed."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("labelling needs a terminal, and standard input or output is not one")
        try:
            import termios
        except ImportError:
            raise UsageError("labelling needs a terminal of Unix; on Windows use WSL") from None
        self._console = PlainConsole()
        if self._console.is_dumb_terminal:
            kind = os.environ.get("TERM", "not set")
            raise UsageError(f"labelling needs a terminal that moves the cursor; TERM is {kind}")
        self._termios: Any = termios
        self._input = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._height = 0
        self._drawn: list[Text] = []
        self._size = shutil.get_terminal_size()

    def __enter__(self) -> Terminal:
        termios = self._termios
        self._before = termios.tcgetattr(self._input)
        mode = termios.tcgetattr(self._input)
        mode[0] &= ~(termios.ICRNL | termios.IXON)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(self._input, termios.TCSADRAIN, mode)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.draw([])
        self._termios.tcsetattr(self._input, self._termios.TCSADRAIN, self._before)

    def read_key(self, seconds: float) -> str | None:
        """Return the name of the next key, or None if there is none in so many seconds.

        At the end of the input, as when the terminal is closed, it is `ctrl-d`.
        """
        if not self._pending and not self._read(seconds):
            return None
        while _UNFINISHED.fullmatch(self._pending) and self._read(_ESCAPE_SECONDS):
            pass
        match = _KEY.match(self._pending)
        if match is None:  # Half of a character.
            return None
        self._pending = self._pending[match.end() :]
        return _NAMES.get(match[0], match[0])

    def _read(self, seconds: float) -> bool:
        """Add what comes within so many seconds to what is pending; return whether any came."""
        if not select.select([self._input], [], [], seconds)[0]:
            return False
        try:
            content = os.read(self._input, 4096)
        except OSError:
            content = b""
        self._pending += self._decoder.decode(content) if content else "\x04"
        return True

    def draw(self, lines: Sequence[Text]) -> None:
        """Show `lines`, wrapped to the width, in place of those that were drawn before."""
        size = shutil.get_terminal_size()
        if lines and lines == self._drawn and size == self._size:
            return
        self._drawn = list(lines)
        blocks = []
        for line in lines:
            with self._console.capture() as capture:
                self._console.print(line, width=size.columns - 1)
            blocks.append(capture.get().removesuffix("\n").split("\n"))
        _crop(blocks, size.lines - 1)
        rows = [row for block in blocks for row in block]
        start = f"\x1b[{self._height}A" if self._height else ""
        if size != self._size:  # What was drawn is wrapped otherwise now.
            self._size, start = size, "\x1b[2J\x1b[H"
        sys.stdout.write(f"{start}\r\x1b[J" + "\n".join(rows))
        sys.stdout.flush()
        self._height = max(len(rows) - 1, 0)

    def write(self, title: str, text: str) -> None:
        """Show a line that stays, in place of those that were drawn before."""
        self.draw([])
        self._console.print(Text.assemble((f"{title} ", "dim"), escape(text)), soft_wrap=True)


def _crop(blocks: list[list[str]], most: int) -> None:
    """Leave out rows of the largest block, but not that of the cursor, if there are too many."""
    excess = sum(map(len, blocks)) - most
    if excess > 0:
        largest = max(blocks, key=len)
        kept = max(len(largest) - excess, 1)
        cursor = next((i for i, row in enumerate(largest) if _REVERSED.search(row)), 0)
        start = min(max(cursor - kept // 2, 0), len(largest) - kept)
        largest[:] = largest[start : start + kept]
