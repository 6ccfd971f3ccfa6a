"""A run of the service, which is loaded again when its files change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from slotfill.config.registry import describe_failure
from slotfill.data.sentence import Sentence
from slotfill.errors import SlotfillError, UsageError
from slotfill.files import real_path
from slotfill.runs.device import EngineName
from slotfill.runs.load import Run, load_run
from slotfill.runs.manifest import FILES
from slotfill.runs.predict import Predictor
from slotfill.serve.batcher import Batcher
from slotfill.serve.heat_maps import HAS_TORCH
from slotfill.serve.limits import Limits
from slotfill.serve.metrics import Metrics

RELOAD_INTERVAL = 1.0
"""Seconds between two looks at the files of a run."""

logger = logging.getLogger(__name__)

_State = tuple[tuple[int, int, int] | None, ...]
"""What changes when a file is written again, for each file of a run."""


class ServedRun:
    """A run with its queue of requests.

    Attributes:
        path: Its folder, or the file that it is packed into.
        name: The name of that, without `.zip`.
        run: The run as loaded last.
        batcher: The queue.
    """

    def __init__(
        self, path: Path, limits: Limits, metrics: Metrics, device: str, engine: EngineName
    ) -> None:
        """Load the run `path`; raises what `load_run` raises."""
        self.path = path
        self.name = name_of(path)
        self.batcher = Batcher(self._tag, limits.queue, metrics.batches.labels(self.name).observe)
        metrics.waiting.labels(self.name).set_function(lambda: self.batcher.waiting)
        self._reloads = metrics.reloads.labels(self.name)
        self._load = partial(load_run, path, device, engine)
        self._seen = self._tried = _state_of(path)
        self.run = self._load()

    @property
    def has_heat_maps(self) -> bool:
        """Whether torch is installed, and the run has weights for it."""
        return HAS_TORCH and not self.run.files.is_packed

    def _tag(self, texts: list[str], nbest: int) -> list[Sentence]:
        # A predictor costs nothing, and dates are relative to the time when it is created.
        return Predictor(self.run, nbest=nbest).tag(texts)

    async def watch(self) -> None:
        """Load the run again whenever its files change, until this task is cancelled."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL)
            await self._reload_if_changed()

    async def _reload_if_changed(self) -> None:
        """Load a new run and use it from the next batch on; keep the old one on an error.

        It is loaded when its files have not changed for a while, since an export writes several,
        and a copy takes its time.
        """
        before, self._seen = self._seen, _state_of(self.path)
        if self._seen != before or self._seen == self._tried:
            return
        self._tried = self._seen
        try:
            self.run = await asyncio.to_thread(self._load_verified)
        except Exception as error:  # Whatever it is, the next one may be right.
            is_expected = isinstance(error, (SlotfillError, OSError))
            message = error if is_expected else f"{self.path} {describe_failure(error)}"
            logger.warning("%s; the run loaded before is kept", message)
            return
        self._reloads.inc()
        logger.warning("%s has changed, and is loaded again", self.name)

    def _load_verified(self) -> Run:
        """Return the run, all of whose files are intact, not only those that are loaded."""
        run = self._load()
        for name in FILES:
            if run.files.has(name):
                run.files[name]
        return run


def _state_of(path: Path) -> _State:
    """Return the state of the files of the run `path`."""
    files = [path] if path.is_file() else [path / name for name in FILES]
    return tuple(map(_stat, files))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def name_of(path: Path) -> str:
    """Return the name by which the run `path` is served.

    It is the same for a folder and its zip, and that of the package for the run of a wheel.
    """
    path = real_path(path)
    if path.is_file() and (path.parent / "__init__.py").is_file():
        return path.parent.name
    return path.name.removesuffix(".zip")


def load_runs(
    paths: Sequence[Path], limits: Limits, metrics: Metrics, device: str, engine: EngineName
) -> dict[str, ServedRun]:
    """Return the runs by name.

    Raises UsageError if two have the same name or one has braces in it, or what `load_run` raises.
    """
    runs: dict[str, ServedRun] = {}
    for path in paths:
        name = name_of(path)
        if "{" in name or "}" in name:  # Of a route, they stand for something else.
            raise UsageError(
                f"the run {name} has braces in its name; rename it, or give a link to it"
            )
        if name in runs:
            raise UsageError(f"two runs are called {name}; rename one, or give a link to it")
        runs[name] = ServedRun(path, limits, metrics, device, engine)
    return runs
