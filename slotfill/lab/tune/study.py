"""A study of Optuna's: the trials of a search, in a file or a database that several machines may
share.

What is tried next is drawn by the tree-structured Parzen estimator, after some trials at random; a
trial is pruned where its best so far is below the median of what the others had in the same epoch.

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
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from slotfill.config.models import Range
from slotfill.errors import RunError, SlotfillError, UsageError
from slotfill.lab.compare.jobs import config_diff

Settings = dict[str, Any]
"""Values by key, as `tune` of a config names them."""

STARTUP_TRIALS = 5
"""So many trials are trained to their end before any is pruned."""

_JOURNAL_PREFIX = b'{"op_code"'
"""What each line of Optuna's journal begins with."""

_FINAL_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class StudyError(RunError):
    """The file or the database of a study cannot be read or written."""


@dataclass(slots=True)
class Trial:
    """One trial: `state` is finished, pruned, failed, running, waiting or stopped; `curves` are
    valid F1 by epoch, one for each seed; `f1` is the mean of their best, of a finished trial
    alone."""

    number: int
    state: str
    settings: Settings
    curves: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    f1: float | None = None
    fault: str | None = None


class Study:
    """The trials of one search, in `storage`: a file, or the URL of a database that SQLAlchemy
    knows.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        about: Mapping[str, Any],
        ranges: Mapping[str, Range | list[Any]],
        *,
        first: Settings | None,
        seed: int,
        warmup: int,
    ) -> None:
        """Open the study called `name`, or begin it: `about` says what its trials have in common.

        `first` is tried before all else; no trial is pruned in its first `warmup` epochs. Raises
        UsageError where there is another search's study.
        """
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        self.place = _without_password(storage)
        self.first = first
        self.seed = seed
        self.distributions = {key: _distribution(tried) for key, tried in ranges.items()}
        with self._storage_errors():
            kept = _opened(storage)
            pruner = MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warmup + 1)
            if name in optuna.get_all_study_names(kept):
                self._study = optuna.load_study(storage=kept, study_name=name, pruner=pruner)
            else:  # Another machine may begin it at this very moment.
                self._study = optuna.create_study(
                    storage=kept,
                    study_name=name,
                    direction="maximize",
                    pruner=pruner,
                    load_if_exists=True,
                )
            there = self._study.user_attrs.get("slotfill")
            if there is None and self._study.trials:
                raise UsageError(
                    f"{self.place}: the study '{name}' in it is not of slotfill; choose another"
                    " --storage"
                )
            for key, old, new in config_diff(there or about, about):
                was, now = ("nothing" if each is None else json.dumps(each) for each in (old, new))
                raise UsageError(
                    f"{self.place}: the study '{name}' was begun with {key} {was}, not {now}; "
                    "choose another --out or --storage"
                )
            if there is None:
                self._study.set_user_attr("slotfill", about)

    def count_started(self) -> int:
        """Return how many trials have ended or are training on this machine.

        A trial of this machine whose process is gone is from now on a stopped one.
        """
        with self._storage_errors():
            training = 0
            for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                host, process = frozen.user_attrs.get("process", ("", 0))
                if host == gethostname() and _process_exists(process):
                    training += 1
                elif host == gethostname():
                    self._study.tell(frozen.number, state=TrialState.FAIL, skip_if_finished=True)
            return training + len(self.finished_trials())

    def ask(self, most: int) -> Trial | None:
        """Return a new trial, which `report` and `tell` are of from now on, or None where there are
        `most` before it.

        Two machines that ask at the same moment get each its own, so only their order tells which
        one is too many.
        """
        with self._storage_errors():
            tried = [trial for trial in self.trials() if trial.state != "stopped"]
            if self.first and not any(
                trial.state == "waiting" or trial.settings == self.first for trial in tried
            ):
                kept = {
                    key: _stored(self.distributions[key], value)
                    for key, value in self.first.items()
                }
                self._study.enqueue_trial(kept)
            # Drawn anew for each trial, so that a study which was stopped goes on as if it had not
            # been.
            so_far = sum(trial.state != "waiting" for trial in tried)
            self._study.sampler = TPESampler(
                seed=random.Random(f"{self.seed} {so_far}").getrandbits(32)
            )
            asked = self._asked = self._study.ask(self.distributions)
            before = sum(
                trial.number <= asked.number and trial.state != "stopped" for trial in self.trials()
            )
            if before >= most:
                self._study.tell(asked, state=TrialState.FAIL)
                return None
            asked.set_user_attr("process", [gethostname(), os.getpid()])
            return Trial(asked.number + 1, "running", _settings(asked.params, self.distributions))

    def report(self, epoch: int, f1: float) -> bool:
        """Note valid F1 of an epoch of the trial's first seed; return whether the trial is to be
        pruned.
        """
        with self._storage_errors():
            self._asked.report(f1, epoch)
            return self._asked.should_prune()

    def tell(self, trial: Trial) -> None:
        """Note how the trial has ended."""
        with self._storage_errors():
            for key in ("curves", "seconds", "fault"):
                self._asked.set_user_attr(key, getattr(trial, key))
            self._study.tell(
                self._asked, trial.f1, state=_FINAL_STATES.get(trial.state, TrialState.FAIL)
            )

    def trials(self) -> list[Trial]:
        """Return all trials there are, those of other machines too, in their order."""
        with self._storage_errors():
            return [
                _trial(frozen, self.distributions)
                for frozen in self._study.get_trials(deepcopy=False)
            ]

    def finished_trials(self) -> list[Trial]:
        """Return the trials that have come to an end of their own, in their order."""
        return [trial for trial in self.trials() if trial.state in _FINAL_STATES]

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Turn what a file or a database raises into one line, and keep Optuna's warnings to
        itself.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except SlotfillError:
            raise
        except Exception as fault:
            reason = " ".join(str(fault).split()) or type(fault).__name__
            raise StudyError(
                f"{self.place}: the study cannot be read or written: {reason[:200]}"
            ) from None


def _without_password(storage: str) -> str:
    return re.sub(r"//[^/]*@", "//", storage)


def _opened(storage: str) -> BaseStorage:
    if "://" in storage:
        return _database(storage)
    if Path(storage).is_file():
        with Path(storage).open("rb") as file:
            if file.read(len(_JOURNAL_PREFIX)) not in (b"", _JOURNAL_PREFIX):
                raise UsageError(f"{storage}: is there already, and holds no study; choose another")
    # A lock that file systems shared over a network know too; what is in the file is JSON, a line
    # an event.
    return JournalStorage(JournalFileBackend(storage, lock_obj=JournalFileOpenLock(storage)))


def _database(url: str, attempts: int = 3) -> RDBStorage:
    """Open a database, again where another machine that begins at the same moment has made some of
    its tables.
    """
    from sqlalchemy.exc import ArgumentError, DBAPIError

    try:
        return RDBStorage(url)
    except (ArgumentError, ImportError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise UsageError(
            f"--storage {_without_password(url)}: no such database can be open_run: {reason}"
        ) from None
    except DBAPIError:
        if attempts == 1:
            raise
        time.sleep(random.random())
        return _database(url, attempts - 1)


def _process_exists(process: int) -> bool:
    """Tell whether another process of this machine has the number `process`."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # Another user's.
        return True
    return process != os.getpid()


def _distribution(tried: Range | list[Any]) -> BaseDistribution:
    if isinstance(tried, list):
        return CategoricalDistribution(list(dict.fromkeys(json.dumps(value) for value in tried)))
    if isinstance(tried.low, int):
        return IntDistribution(tried.low, int(tried.high), log=tried.log, step=int(tried.step or 1))
    return FloatDistribution(tried.low, tried.high, log=tried.log, step=tried.step)


def _stored(distribution: BaseDistribution, value: Any) -> Any:
    return json.dumps(value) if isinstance(distribution, CategoricalDistribution) else value


def _settings(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> Settings:
    """Return the values that a trial's parameters stand for, in the order of the config."""
    values = {key: params[key] for key in distributions if key in params}
    return {
        key: json.loads(value) if isinstance(value, str) else value for key, value in values.items()
    }


def _trial(frozen: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> Trial:
    notes = frozen.user_attrs
    fault = notes.get("fault")
    states = {end: name for name, end in _FINAL_STATES.items()}
    return Trial(
        frozen.number + 1,
        # What has failed without a fault was stopped by Ctrl-C, or its process ended from outside.
        (
            "stopped"
            if frozen.state == TrialState.FAIL and not fault
            else states.get(frozen.state, frozen.state.name.lower())
        ),
        _settings(frozen.params, distributions),
        notes.get("curves") or [],
        notes.get("seconds", 0.0),
        frozen.value if frozen.state == TrialState.COMPLETE else None,
        fault,
    )
