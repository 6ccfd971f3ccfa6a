"""A target: what uses an input, and which outcome is a finding."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slotfill.errors import SlotfillError


@dataclass
class Target:
    """What is fuzzed."""

    run: Callable[[bytes, Path], object]
    """Uses an input, within an empty folder."""
    seeds: list[bytes]
    """Inputs that are accepted, which mutations begin with."""
    max_size: int = field(default=4096, kw_only=True)
    started: bool = field(default=True, kw_only=True)
    """Whether `run` is what uses an input; otherwise it returns that, in the process of its own."""

    make_seeds: Callable[[], list[bytes]] = field(default=list, kw_only=True)
    """Returns more seeds, which take long to make."""

    def start(self) -> None:
        """Make `run` what uses an input."""
        if not self.started:
            self.run, self.started = self.run(), True  # type: ignore[call-arg]


def check(target: Target, data: bytes, folder: Path) -> bool:
    """Run a target on an input; return whether it is accepted, and raise what is a finding."""
    target.start()
    try:
        return accepts(target.run, data, folder)
    finally:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def accepts(action: Callable[..., object], *arguments: Any) -> bool:
    """Return whether an action raises no error; raises what is no error of the user in one line."""
    try:
        action(*arguments)
    except SlotfillError as error:
        for message in error.messages:
            assert message.strip(), "an empty message"
            assert "\n" not in message, f"a message of several lines: {message!r}"
        return False
    return True
