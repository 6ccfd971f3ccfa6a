"""A run of the service, which is loaded again when its folder is replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from slotfill.data.sentence import Sentence
from slotfill.errors import SlotfillError, UsageError
from slotfill.runs.device import EngineName
from slotfill.runs.load import load_run
from slotfill.runs.manifest import MANIFEST
from slotfill.runs.predict import Predictor
from slotfill.serve.batcher import Batcher
from slotfill.serve.limits import Limits
from slotfill.serve.metrics import Metrics

RELOAD_INTERVAL = 1.0
"""Seconds between two looks at the manifest of a run."""

logger = logging.getLogger(__name__)


class ServedRun:
    """A run with its queue of requests.

    Attributes:
        path: Its folder.
        name: The name of its folder.
        run: The run as loaded last.
        batcher: The queue.
    """

    def __init__(
        self, path: Path, limits: Limits, metrics: Metrics, device: str, engine: EngineName
    ) -> None:
        """Load the run in the folder `path`; raises what `load_run` raises."""
        self.path = path
        self.name = path.resolve().name
        self.batcher = Batcher(self._tag, limits.queue, metrics.batches.labels(self.name).observe)
        metrics.waiting.labels(self.name).set_function(lambda: self.batcher.waiting)
        self._reloads = metrics.reloads.labels(self.name)
        self._manifest = path / MANIFEST
        self._load = partial(load_run, path, device, engine)
        self._seen = self._loaded = self._stamp()
        self._problem = ""
        self.run = self._load()

    def _tag(self, texts: list[str], nbest: int) -> list[Sentence]:
        # A predictor costs nothing, and dates are relative to the time when it is created.
        return Predictor(self.run, nbest=nbest).tag(texts)

    async def watch(self) -> None:
        """Load the run again whenever its folder is replaced, until this task is cancelled."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL)
            await self._reload_if_replaced()

    async def _reload_if_replaced(self) -> None:
        """Load a new run and use it from the next batch on; keep the old one on an error.

        It is loaded when its manifest has not changed for a while, since an export writes several,
        and tried again after an error, since a copy of a folder may have been incomplete.
        """
        before, self._seen = self._seen, self._stamp()
        stamp = self._seen
        if stamp != before or stamp in (None, self._loaded):
            return
        try:
            self.run = await asyncio.to_thread(self._load)
        except (SlotfillError, OSError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                logger.warning("%s; the run loaded before is kept", error)
            return
        self._loaded, self._problem = stamp, ""
        self._reloads.inc()
        logger.warning("%s was replaced, and is loaded again", self.name)

    def _stamp(self) -> tuple[int, int, int] | None:
        """Return what changes when the manifest is written again; None if there is none."""
        try:
            status = self._manifest.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def load_runs(
    paths: Sequence[Path], limits: Limits, metrics: Metrics, device: str, engine: EngineName
) -> dict[str, ServedRun]:
    """Return the runs by name.

    Raises UsageError if two have the same name, or what `load_run` raises.
    """
    runs: dict[str, ServedRun] = {}
    for path in paths:
        name = path.resolve().name
        if name in runs:
            raise UsageError(f"two runs are called {name}; rename a folder, or give a link to it")
        runs[name] = ServedRun(path, limits, metrics, device, engine)
    return runs
