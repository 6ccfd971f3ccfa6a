"""Findings: likely problems in data that can be read, which `slotfill check` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One likely problem in data that can be read nevertheless."""

    location: str
    """`file:line`, a split or a config key; empty if it concerns everything."""
    message: str
    """What was found."""
    hint: str = ""
    """How to fix it, if that is known."""

    def __str__(self) -> str:
        location = f"{self.location}: " if self.location else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{location}{self.message}{hint}"
