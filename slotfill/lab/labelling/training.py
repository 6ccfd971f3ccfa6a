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

from slotfill.config.builtin import load_config
from slotfill.config.models import Config
from slotfill.errors import RunError, SlotfillError, UsageError
from slotfill.files import parse_json, read_regular_file, real_path
from slotfill.runs.continuation import check_continues, read_base_config
from slotfill.runs.environment import STARTED_BY
from slotfill.runs.load import open_tagger, parse_run_config, partial_path
from slotfill.runs.manifest import ENVIRONMENT, MANIFEST
from slotfill.runs.predict import Predictor

Result = TypeVar("Result")

_NAME = "label"
"""What runs that are trained in the background have been started by."""


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

        `settings` are overrides of keys. Raises UsageError if `out` must not be replaced: it is
        `run`, or not a run that was trained like this on `labels`.
        """
        base = ["--from", str(run)] if run else ["data.holdout=0"]
        arguments = ["train", *base, *_data_settings(labels), *settings]
        arguments += ["--out", str(out), "--force", *(["--trust"] if trust else [])]
        if run is not None and out.exists() and run.exists() and out.samefile(run):
            raise UsageError(f"{run} is the run that training continues; choose another --out")
        _check_replaceable(out, labels, arguments)
        self.command = ["slotfill", *arguments]
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
            stdin=subprocess.PIPE,  # Closed when this process ends, however it does.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C is for the terminal, not for the training; labelling comes first.
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", STARTED_BY: _NAME},
        )
        with self._process:
            assert self._process.stderr is not None
            errors = self._process.stderr.read()
        self.error = ""
        if self._process.returncode:
            lines = errors.strip().splitlines() or [f"exit code {self._process.returncode}"]
            self.error = lines[-1].removeprefix("slotfill: ")
            return
        try:
            self._result = finish(Predictor.load(self.out))
        except SlotfillError as error:
            self.error = str(error)


def check_settings(
    labels: Path, sentences: Path, run: Path | None, settings: Sequence[str]
) -> Config:
    """Return the config of training on `labels` with `settings`, which are overrides of keys.

    `labels` may not be there yet, and `sentences`, which is, stands for it. Raises ConfigError if
    there are errors, and UsageError if other sentences are to be trained on.
    """
    given = [*_data_settings(sentences), *settings]
    if run is None:
        _, config = load_config(None, ["data.holdout=0", *given], need_data=True)
    else:
        base, _ = read_base_config(run)
        given.append(f"train.from_run={json.dumps(str(run))}")
        _, config = load_config(None, given, need_data=True, base=base)
        with config.locate_errors():
            check_continues(config, base, run)
    if config.generator is not None:
        config.check_tagger()
    if config.data.train is None or Path(config.data.train) != real_path(sentences):
        raise UsageError(f"data.train: is {labels}; to label in another file, give it as --labels")
    return config


def _data_settings(labels: Path) -> list[str]:
    return [f"data.train={json.dumps(str(labels))}", "data.format=brackets"]


def _check_replaceable(out: Path, labels: Path, arguments: Sequence[str]) -> None:
    """Raise UsageError if `out` or its checkpoint is there, and not of such a training on `labels`.

    The command that is printed at the end, with these `arguments`, trains such a run, too.
    """
    for folder in (out, partial_path(out)):
        if not folder.exists():
            continue
        if folder == out:
            files = open_tagger(out)
            made = files[ENVIRONMENT] if files.has(ENVIRONMENT) else b"{}"
            config = parse_run_config(files["config.yaml"], out)
        elif (path := folder / ENVIRONMENT).exists():
            made = read_regular_file(path)
            config = parse_run_config(read_regular_file(folder / "config.yaml"), folder)
        else:  # Stopped before its first checkpoint.
            continue
        try:
            environment = parse_json(made, {})
        except ValueError as error:
            raise RunError(f"{folder / ENVIRONMENT}: {error}; train the run again") from None
        command = environment.get("command")
        is_same = isinstance(command, list) and command[1:] == arguments
        if not is_same and environment.get("started_by") != _NAME:
            raise UsageError(
                f"{folder} was not trained by label, which would replace it; choose another --out"
            )
        if config.data.train is None or Path(config.data.train) != real_path(labels):
            raise UsageError(
                f"{folder} is a run on other sentences than {labels}; choose another --out"
            )


def why_not_trainable() -> str:
    """Return why runs cannot be trained here; empty if they can."""
    missing = [package for package in ("torch", "onnx", "safetensors") if not find_spec(package)]
    return f"training needs {missing[0]}: pip install 'slotfill[train]'" if missing else ""
