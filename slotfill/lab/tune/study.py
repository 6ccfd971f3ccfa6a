"""Optuna study: the trials of a search, in a file or a database that several machines can share.

Settings are sampled by the tree-structured Parzen estimator after some random trials; a trial is
pruned if its best F1 so far is below the median of the other trials at the same epoch.

Source: Bergstra, Bardenet, Bengio & Kégl 2011, "Algorithms for Hyper-Parameter Optimization";
Akiba, Sano, Yanase, Ohta & Koyama 2019, "Optuna: A Next-generation Hyperparameter Optimization
Framework"
"""

from __future__ import annotations

import json
import os
import random
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from slotfill.config.sections import Range
from slotfill.errors import RunError, SlotfillError, UsageError
from slotfill.lab.compare.job import diff_configs
from slotfill.lab.tune.journal import open_journal

Settings = dict[str, Any]
"""Values by config key, such as `train.learning_rate`."""

STARTUP_TRIALS = 5
"""Trials that finish before any trial is pruned."""

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_RESULTS = ("curves", "f1s", "seconds", "error")
"""The fields of a trial that are saved as its attributes."""


class StudyError(RunError):
    """The file or the database of a study cannot be read or written."""


@dataclass(slots=True)
class Trial:
    """One trial of a study."""

    number: int
    """Counted from 1."""
    state: str
    """One of finished, pruned, failed, running, waiting, stopped."""
    settings: Settings
    curves: list[list[float]] = field(default_factory=list)
    """F1 on valid by epoch, for each seed."""
    f1s: list[float] = field(default_factory=list)
    """F1 on valid of the epoch that training keeps, for each seed."""
    f1: float | None = None
    """Mean of `f1s`, if the trial is finished."""
    seconds: float = 0.0
    """Training time."""
    error: str | None = None
    """Why the trial failed."""


class Study:
    """The trials of one search, with the same `metadata` and, if any, the `baseline` as the first.

    `storage` is a file, or the URL of a database that SQLAlchemy supports; trials can be pruned
    after `warmup` epochs. Raises UsageError if it has a study of another search, DataError if the
    file is damaged, and StudyError if it cannot be read or written.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        metadata: Mapping[str, Any],
        ranges: Mapping[str, Range | list[Any]],
        *,
        baseline: Settings | None,
        seed: int,
        warmup: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        self.location = _hide_password(storage)
        self.baseline = baseline
        self.seed = seed
        self._space = {key: _distribution(values) for key, values in ranges.items()}
        with self._storage_errors():
            opened = _open_storage(storage)
            pruner = MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warmup + 1)
            options: dict[str, Any] = {"storage": opened, "study_name": name, "pruner": pruner}
            if name in optuna.get_all_study_names(opened):
                self._study = optuna.load_study(**options)
            else:  # Another machine may create it at the same moment.
                options |= {"direction": "maximize", "load_if_exists": True}
                self._study = optuna.create_study(**options)
            saved = self._study.user_attrs.get("slotfill")
            title = f"{self.location}: the study '{name}'"
            if saved is None:
                if self._study.trials:
                    raise UsageError(f"{title} is not from slotfill; choose another --storage")
                self._study.set_user_attr("slotfill", metadata)
                return
            for change in diff_configs(saved, metadata):
                hint = "choose another --out or --storage"
                if change.startswith("sentences."):
                    split = change.split()[0].removeprefix("sentences.")
                    raise UsageError(f"{title}: the sentences of {split} have changed; {hint}")
                raise UsageError(f"{title} was started with {change}; {hint}")

    def count_started(self) -> int:
        """Return how many trials have ended or are running on this machine.

        Running trials of this machine whose process is gone are marked as stopped, and those of
        which the record of their process was lost.
        """
        with self._storage_errors():
            running = 0
            for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                host, process = frozen.user_attrs.get("process", (gethostname(), None))
                if host != gethostname():
                    continue
                if process is not None and _process_exists(process):
                    running += 1
                else:
                    self._study.tell(frozen.number, state=TrialState.FAIL, skip_if_finished=True)
            return running + len(self.finished_trials())

    def ask(self, max_trials: int) -> Trial | None:
        """Return a new trial, the current one from now on; None if there are `max_trials` already.

        If two machines ask at the same moment, the order of their trials decides which is too many.
        """
        with self._storage_errors():
            trials = [trial for trial in self.trials() if trial.state != "stopped"]
            waiting = [trial for trial in trials if trial.state == "waiting"]
            settings: Settings = {}
            if self.baseline and self.baseline not in [trial.settings for trial in trials]:
                choices = [key for key, kind in self._space.items() if hasattr(kind, "choices")]
                texts = {key: json.dumps(self.baseline[key]) for key in choices}
                settings = self.baseline | texts
            # A trial has a process from the start, so that one whose process ends is noticed.
            process = [gethostname(), os.getpid()]
            self._study.enqueue_trial(settings, {"process": process})
            # Seeded by the trials so far: a resumed study continues as if it had not been stopped.
            started = len(trials) - len(waiting)
            seed = random.Random(f"{self.seed} {started}").getrandbits(32)
            self._study.sampler = TPESampler(seed=seed)
            self._current = self._study.ask(self._space)
            earlier = [trial.state for trial in self.trials()[: self._current.number]]
            if len(earlier) - earlier.count("stopped") >= max_trials:
                self._study.tell(self._current, state=TrialState.FAIL)
                return None
            self._current.set_user_attr("process", process)
            return Trial(self._current.number + 1, "running", self._settings(self._current.params))

    def report(self, epoch: int, f1: float) -> bool:
        """Save the F1 of an epoch of the current trial; return whether it should be pruned."""
        with self._storage_errors():
            self._current.report(f1, epoch)
            return self._current.should_prune()

    def tell(self, trial: Trial) -> None:
        """Save how the current trial has ended."""
        with self._storage_errors():
            for key in _RESULTS:
                self._current.set_user_attr(key, getattr(trial, key))
            state = _STATES.get(trial.state, TrialState.FAIL)
            self._study.tell(self._current, trial.f1, state=state)

    def trials(self) -> list[Trial]:
        """Return all trials in order, those of other machines too."""
        with self._storage_errors():
            return [self._trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def finished_trials(self) -> list[Trial]:
        """Return the trials that are finished, pruned or failed, in order."""
        return [trial for trial in self.trials() if trial.state in _STATES]

    def _trial(self, frozen: FrozenTrial) -> Trial:
        results = {key: frozen.user_attrs[key] for key in _RESULTS if frozen.user_attrs.get(key)}
        names = {state: name for name, state in _STATES.items()}
        state = names.get(frozen.state, frozen.state.name.lower())
        if state == "failed" and "error" not in results:
            state = "stopped"  # By Ctrl-C, or its process was killed.
        f1 = frozen.value if state == "finished" else None
        waiting = frozen.system_attrs.get("fixed_params", {}) if state == "waiting" else {}
        settings = self._settings(frozen.params or waiting)
        return Trial(frozen.number + 1, state, settings, f1=f1, **results)

    def _settings(self, params: Mapping[str, Any]) -> Settings:
        """Return Optuna's parameters as config values, in the order of the config."""
        texts = {key: json.loads(value) for key, value in params.items() if isinstance(value, str)}
        values = {**params, **texts}
        return {key: values[key] for key in self._space if key in values}

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Raise errors of the storage as StudyError, and hide Optuna's warnings."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except SlotfillError:
            raise
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # Optuna does not say what the database said.
                cause = cause.__cause__
            message = f"the study cannot be read or written: {_one_line(cause)}"
            raise StudyError(f"{self.location}: {message}") from None


def _hide_password(storage: str) -> str:
    return re.sub(r"//[^/]*@", "//", storage)


def _open_storage(storage: str) -> optuna.storages.BaseStorage:
    if "://" in storage:
        return _open_database(storage)
    return open_journal(Path(storage))


def _open_database(url: str, attempts: int = 3) -> optuna.storages.BaseStorage:
    """Open a database; try again if another machine is creating its tables."""
    from sqlalchemy.exc import ArgumentError, DBAPIError
    from sqlalchemy.pool import NullPool

    try:
        # A connection is not kept while a trial trains, when the server may end it.
        return optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    except (ArgumentError, ImportError) as error:
        reason = _one_line(error)
        raise UsageError(f"--storage {_hide_password(url)}: cannot be opened: {reason}") from None
    except DBAPIError:
        if attempts == 1:
            raise
        time.sleep(random.random())
        return _open_database(url, attempts - 1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _process_exists(process: int) -> bool:
    """Whether another process of this machine has the id `process`."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # Another user's process.
        return True
    return process != os.getpid()


def _distribution(values: Range | list[Any]) -> optuna.distributions.BaseDistribution:
    if isinstance(values, list):
        texts = list(dict.fromkeys(map(json.dumps, values)))
        return optuna.distributions.CategoricalDistribution(texts)
    options = values.model_dump()
    if isinstance(values.low, int):
        return optuna.distributions.IntDistribution(**options | {"step": values.step or 1})
    return optuna.distributions.FloatDistribution(**options)
