"""Prediction by several processes, each with the run loaded."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from slotfill.config.registry import (
    FORMATS,
    are_external_parts_trusted,
    catch_part_errors,
    trust_external_parts,
)
from slotfill.errors import RunError
from slotfill.inference.stream import ordered_map, read_ahead
from slotfill.runs.predict import CHUNK, Predictor, Rendered, Text, join_groups


@contextmanager
def parallel_renderer(
    run: Path, format: str, jobs: int, note: Callable[[str], None], **options: Any
) -> Iterator[Callable[[Iterable[Text]], Iterator[str]]]:
    """Yield a function like `Predictor.render_stream`, computed by `jobs` processes on the CPU.

    `options` are those of `Predictor.load`. The function raises RunError if a process was killed.
    """
    work = partial(_render_chunk, run, format, are_external_parts_trusted(), options)
    # An ordinary exit releases the semaphores of the pool.
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with ProcessPoolExecutor(jobs, get_context("spawn"), _init_worker) as workers:

            def render(texts: Iterable[Text]) -> Iterator[str]:
                try:
                    groups = ordered_map(work, read_ahead(texts, CHUNK), workers)
                    yield from join_groups(FORMATS.build(format), groups, note)
                except BrokenProcessPool:
                    message = "a prediction process was killed; is there enough memory?"
                    raise RunError(message) from None

            yield render
    finally:
        signal.signal(signal.SIGTERM, before)


def _init_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _render_chunk(
    run: Path, format: str, trust: bool, options: dict[str, Any], texts: Sequence[Text]
) -> Rendered:
    predictor = load_once(run, trust, **options)
    with trust_external_parts(trust), catch_part_errors():
        return predictor.render(predictor.tag(texts), FORMATS.build(format))


def load_once(run: str | Path, trust: bool, **options: Any) -> Predictor:
    """Return `Predictor.load` of these options, always the same one in this process."""
    with _LOADING, trust_external_parts(trust):  # Threads that need the same run wait for it.
        return _load(run, **options)


_LOADING = Lock()
_load = cache(Predictor.load)
