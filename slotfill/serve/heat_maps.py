"""Pages of the gates, memory and attention of a run, as `slotfill inspect --html` writes them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib.util import find_spec
from pathlib import Path

from slotfill.runs.load import load_run

HAS_TORCH = find_spec("torch") is not None
"""Only torch records activations."""

MAX_CHARACTERS = 500
"""Longest text; a page has a cell for each token and unit."""


class HeatMaps:
    """Makes pages one at a time, in a thread of its own."""

    def __init__(self) -> None:
        """Trust the files of user-defined parts as far as they are trusted now."""
        self._thread = ThreadPoolExecutor(1)
        self._context = copy_context()

    async def render(self, run: Path, name: str, text: str) -> str:
        """Return the page of `text`; raises UsageError if it has no word."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._context.run, _render, run, name, text)


def _render(run: Path, name: str, text: str) -> str:
    from slotfill.lab.inspect.html import render_page
    from slotfill.lab.inspect.inspection import inspect

    return render_page(inspect(load_run(run, engine="torch"), text), name)
