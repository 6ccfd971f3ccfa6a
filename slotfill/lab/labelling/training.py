"""Training in the background, on the sentences that are labelled so far."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextvars import copy_context
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from threading import Thread
from typing import Generic, TypeVar

from slotfill.errors import SlotfillError, UsageError
from slotfill.runs.load import open_run, parse_run_config, partial_path
from slotfill.runs.manifest import MANIFEST
from slotfill.runs.predict import Predictor

Result = TypeVar("Result")


class BackgroundTraining(Generic[Result]):
    """Trains a run again and again, each time in another process, and loads it.

    Attributes:
        out: The run folder, which the next training replaces.
        command: What trains it, as it is typed.
        error: Why the last training has failed; empty if it has not.
    """

    def __init__(
        self,
        labels: Path,
        out: Path,
        run: Path | None,
        settings: Sequence[str] = (),
        *,
        trust: bool = False,
    ) -> None:
        """Train on `labels` from the weights of `run`, or from random ones without.

        `settings` are overrides of keys. Raises UsageError if `out` is a run on other sentences.
        """
        _check_replaceable(out, labels)
        data = [f"data.train={json.dumps(str(labels))}", "data.format=brackets"]
        base = ["--from", str(run)] if run else ["data.holdout=0"]
        arguments = ["train", *base, *data, *settings, "--out", str(out), "--force"]
        self.command = ["slotfill", *arguments, *(["--trust"] if trust else [])]
        self._labels = labels
        self.out = out
        self.error = ""
        self._process: subprocess.Popen[str] | None = None
        self._thread: Thread | None = None
        self._result: Result | None = None

    @property
    def has_trained(self) -> bool:
        """Whether there is a run, of this training or an earlier one."""
        return (self.out / MANIFEST).exists()

    @property
    def is_up_to_date(self) -> bool:
        """Whether the run is newer than the labels."""
        times = [path.stat().st_mtime for path in (self._labels, self.out / MANIFEST)]
        return times[0] < times[1]

    @property
    def is_running(self) -> bool:
        """Whether a training is not finished, or its result not collected."""
        return self._thread is not None

    def start(self, finish: Callable[[Predictor], Result]) -> None:
        """Start a training; its result is what `finish` returns for the run, in another thread."""
        # The context has which user-defined parts are trusted.
        context = copy_context()
        self._thread = Thread(target=lambda: context.run(self._work, finish), daemon=True)
        self._thread.start()

    def collect(self) -> Result | None:
        """Return the result of a training that is finished, once; None if there is none."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        result, self._result = self._result, None
        return result

    def stop(self) -> None:
        """End a training that is running; what it has written is removed."""
        thread, self._thread = self._thread, None
        if thread is not None:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
                self._process.wait()
                rmtree(partial_path(self.out), ignore_errors=True)
            thread.join()

    def _work(self, finish: Callable[[Predictor], Result]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C is for the terminal, not for the training; labelling comes first.
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        _, errors = self._process.communicate()
        self.error = ""
        if self._process.returncode:
            lines = errors.strip().splitlines() or [f"exit code {self._process.returncode}"]
            self.error = lines[-1].removeprefix("slotfill: ")
            return
        try:
            self._result = finish(Predictor.load(self.out))
        except SlotfillError as error:
            self.error = str(error)


def _check_replaceable(out: Path, labels: Path) -> None:
    """Raise UsageError if `out` is there and not a run on `labels`."""
    if not out.exists():
        return
    config = parse_run_config(open_run(out)["config.yaml"], out)
    if config.data.train is None or Path(config.data.train) != labels.resolve():
        raise UsageError(f"{out} is a run on other sentences than {labels}; choose another --out")


def why_not_trainable() -> str:
    """Return why runs cannot be trained here; empty if they can."""
    missing = [package for package in ("torch", "onnx", "safetensors") if not find_spec(package)]
    return f"training needs {missing[0]}: pip install 'slotfill[train]'" if missing else ""
