"""Prediction of tables by the machines of a Ray cluster, a file at a time on each processor."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from slotfill.config.registry import are_external_parts_trusted
from slotfill.errors import RunError, UsageError
from slotfill.extras import required_for
from slotfill.runs.parallel import load_once
from slotfill.runs.tables import TableTask, predict_table


@contextmanager
def predict_on_ray(
    address: str, tasks: Sequence[TableTask], text_column: str, run: Path, **options: Any
) -> Iterator[Callable[[TableTask], int]]:
    """Start `tasks` on the Ray cluster at `address`, and yield a function that waits for one.

    It returns and raises what `predict_table` does. `address` is as for `ray.init`, and `options`
    are those of `Predictor.load`. All machines see the same files under the current folder.
    Raises UsageError if there is no such cluster.
    """
    with required_for("--ray"):
        import ray
    check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, logging_level="error", log_to_driver=False, **local)
    except (ConnectionError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(f"--ray {address}: no Ray cluster there ({reason})") from None
    try:
        predict = ray.remote(_predict_file).remote
        fixed = (Path.cwd(), text_column, run, are_external_parts_trusted(), options)
        results = {task: predict(task, *fixed) for task in tasks}

        def wait(task: TableTask) -> int:
            try:
                return ray.get(results[task])
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                reason = str(error).split("\n")[0]
                raise RunError(f"{task.source}: Ray could not predict it ({reason})") from None

        yield wait
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise UsageError if no machine answers at `address`, where Ray would wait for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--ray {address}: must be auto, local, or HOST:PORT, as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--ray {address}: no Ray cluster there ({reason})") from None


def _predict_file(
    task: TableTask,
    folder: Path,
    text_column: str,
    run: Path,
    trust: bool,
    options: dict[str, Any],
) -> int:
    """Predict a file in a process of Ray, whose current folder becomes `folder`."""
    try:
        os.chdir(folder)
    except OSError as error:
        host = os.uname().nodename
        raise RunError(f"{folder}: {error.strerror} on {host}; all machines need it") from None
    predictor = load_once(run, trust, **options)
    render = partial(predictor.render_stream, format="jsonl")
    return predict_table(task, text_column, predictor, render)
