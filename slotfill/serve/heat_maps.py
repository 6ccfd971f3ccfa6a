"""Pages of the gates, memory and attention of a run, as `slotfill inspect --html` writes them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib.util import find_spec
from pathlib import Path

from slotfill.config.registry import catch_part_errors
from slotfill.errors import SlotfillError
from slotfill.extras import EXTRAS
from slotfill.runs.load import load_run
from slotfill.serve.batcher import QueueFullError

HAS_TORCH = find_spec("torch") is not None
"""Only torch records activations."""

NEEDS_TORCH = f"heat maps need torch: pip install 'slotfill[{EXTRAS['torch']}]'"

MAX_CHARACTERS = 500
"""Longest text; a page has a cell for each token and unit."""

_MAX_WAITING = 8
"""Number of pages from which a request for another is refused."""


class NoHeatMapError(Exception):
    """A run cannot be loaded by torch; the message is for the log."""


class HeatMaps:
    """Makes pages one at a time, in a thread of its own."""

    def __init__(self) -> None:
        """Trust the files of user-defined parts as far as they are trusted now."""
        self._thread = ThreadPoolExecutor(1)
        self._context = copy_context()
        self._waiting = 0

    async def render(self, run: Path, name: str, text: str) -> str:
        """Return the page of `text`.

        Raises:
            QueueFullError: Too many pages wait.
            NoHeatMapError: The run cannot be loaded by torch.
            UsageError: The text has no word.
        """
        if self._waiting >= _MAX_WAITING:
            raise QueueFullError
        self._waiting += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._thread, self._context.run, _render, run, name, text
            )
        finally:
            self._waiting -= 1


def _render(run: Path, name: str, text: str) -> str:
    from slotfill.lab.inspect.html import render_page
    from slotfill.lab.inspect.inspection import inspect

    try:
        loaded = load_run(run, engine="torch")
    except (SlotfillError, OSError) as error:
        raise NoHeatMapError(str(error)) from None
    with catch_part_errors():
        return render_page(inspect(loaded, text), name)
