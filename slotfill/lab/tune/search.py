"""Hyperparameter search: train a config with the settings that a study samples, and report on it.

The test sentences cannot be read here, since no config that is trained names them.
"""

from __future__ import annotations

import json
import re
import signal
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

from slotfill.config.builtin import default_config, load_config
from slotfill.config.models import Config, external_part_files
from slotfill.config.registry import check_trusted, user_part
from slotfill.config.sections import DataConfig
from slotfill.config.validate import parse_config
from slotfill.data.sentence import Sentence, hash_sentences
from slotfill.data.splits import read_split
from slotfill.errors import ConfigError, SlotfillError, UsageError, format_count
from slotfill.files import (
    check_new_file,
    check_no_link,
    read_regular_file,
    real_path,
    write_in_folder,
)
from slotfill.lab.tune.study import Settings, Study, StudyError, Trial
from slotfill.model.build import check_buildable
from slotfill.runs.train import build_trainer
from slotfill.training.defaults import resolve_budget
from slotfill.training.progress import Progress
from slotfill.version import FORMAT

SPLITS = ("train", "valid")
"""The splits that a search reads."""

HEADER = "# Written by slotfill tune"
"""First words of `best.yaml`; a file without them is the user's."""

MAX_ROWS = 10
"""Rows in the table of the best trials."""

TrialCallback = Callable[[str, Progress | None], None]
"""Called with a message, or with the title of a trial and its progress."""


@dataclass(frozen=True, slots=True)
class Search:
    """A hyperparameter search."""

    source: str
    """Name or path of the config, as on the command line."""
    overrides: Sequence[str]
    name: str
    config: Config
    """The complete config, except for the test sentences."""
    data: DataConfig
    """The data with the test sentences, for `best.yaml`."""
    sentences: Mapping[str, Sequence[Sentence]]
    """The sentences of train and valid."""
    seeds: int
    """Seeds per trial; its F1 is their mean."""
    out: Path
    """The folder of the study."""

    @property
    def best_path(self) -> Path:
        """The file for the best config."""
        return self.out / "best.yaml"

    @property
    def journal_path(self) -> Path:
        """The file for the study, unless it has another storage."""
        return self.out / "study.journal"

    def config_with(self, settings: Settings) -> Config:
        """Return the config with `settings`; raises ConfigError if they do not fit together."""
        changes = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        return parse_config(self.config.to_yaml(), self.source, changes, need_data=True)


@dataclass(slots=True, kw_only=True)
class TuningReport:
    """All trials of a study."""

    format: int = FORMAT
    config: str
    """Name or path of the config, as on the command line."""
    overrides: list[str]
    seeds: int
    """Seeds per trial."""
    storage: str
    best: dict[str, Any] | None
    """The file with the best config, its trial and F1."""
    trials: list[Trial]
    """All trials, the best first."""
    running: int
    """Trials that are running, on this machine or on others."""


def plan(
    source: str | None, overrides: Sequence[str] = (), *, seeds: int = 1, out: Path | None = None
) -> Search:
    """Return the checked search of a config, its sentences read.

    Raises ConfigError with all errors of the config, DataError if the sentences cannot be read, and
    UsageError if there is no search space, or `out` cannot be the folder of a study.
    """
    source = default_config(overrides) if source is None else source
    name, with_test = load_config(source, overrides)
    shown = source or name
    config = load_config(source, [*overrides, "data.test=null"], need_data=True)[1]
    if not config.tune:
        example = "tune: {train.learning_rate: {low: 0.001, high: 0.01, log: true}}"
        raise UsageError(f"{shown}: no search space; set the keys to try, for example {example}")
    config.check_tagger()
    check_buildable(config)
    for file in _list_tuned_files(config):
        check_trusted(real_path(file))
    intents = bool(config.intent) or "intent" in config.tune
    sentences = {
        split: read_split(config.data, split, intents=intents).sentences for split in SPLITS
    }
    out = out or Path("tuned") / name
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give the folder for the study")
    search = Search(shown, overrides, name, config, with_test.data, sentences, seeds, out)
    best = search.best_path
    for path in (best, search.journal_path):
        check_no_link(path)
    if best.exists():
        if not read_regular_file(best).startswith(HEADER.encode()):
            raise UsageError(
                f"{best}: already exists and is not from slotfill tune; choose another --out"
            )
        if source and Path(source).exists() and best.samefile(source):
            raise UsageError(f"{source}: would be replaced; copy it, or choose another --out")
    return search


def open_study(search: Search, storage: str | None = None) -> Study:
    """Return the new or resumed study of `search`, in `storage` or in its folder.

    Raises UsageError if the study is of another config, and RunError if it cannot be read.
    """
    if storage is not None and "://" not in storage:
        check_new_file(Path(storage), force=True)
    if storage is not None and re.fullmatch("sqlite[^:]*://(/(:memory:)?)?", storage):
        raise UsageError(f"--storage {storage}: names no file, as sqlite:///study.db does")
    baseline = _baseline_settings(search)
    try:
        search.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {search.out}: cannot be created: {error.strerror}") from None
    config = search.config
    metadata = config.model_dump()
    # Sentences can have other paths on other machines, but must be the same.
    for key in ("path", "train", "valid", "test"):
        del metadata["data"][key]
    metadata["sentences"] = {split: hash_sentences(search.sentences[split]) for split in SPLITS}
    # Trials with a part as it was before it was edited are not comparable to later ones.
    if files := [*config.external_files, *_list_tuned_files(config)]:
        metadata["parts"] = {Path(file).name: user_part(file).checksum for file in files}
    metadata["tune"] = {
        key: values if isinstance(values, list) else values.model_dump()
        for key, values in config.tune.items()
    }
    return Study(
        storage or str(search.journal_path),
        search.name,
        metadata | {"format": FORMAT, "seeds": search.seeds},
        config.tune,
        baseline=baseline,
        seed=config.train.seed,
        warmup=resolve_budget(config.train, len(search.sentences["train"])).epochs // 4,
    )


def _list_tuned_files(config: Config) -> list[str]:
    """Return the files of user-defined parts among the values to try."""
    choices = chain(*(values for values in config.tune.values() if isinstance(values, list)))
    parts = [value if isinstance(value, dict) else {"name": value} for value in choices]
    return list(external_part_files(parts))


def _baseline_settings(search: Search) -> Settings | None:
    """Return the config's own values, or None if one lies outside the search space."""
    config = search.config.model_dump()
    settings: Settings = {}
    for key, values in search.config.tune.items():
        if isinstance(values, list):
            for value in values:
                if search.config_with({key: value}).model_dump() == config:
                    settings.setdefault(key, value)
        else:
            value = _value_at(config, key)
            if isinstance(value, int | float) and values.low <= value <= values.high:
                settings[key] = value
    return settings if len(settings) == len(search.config.tune) else None


def _value_at(value: Any, key: str) -> Any:
    """Return the value at a dotted key, or None if there is no such key."""
    try:
        for step in key.split("."):
            value = value[int(step) if isinstance(value, list) else step]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return value


def run_trials(
    search: Search, study: Study, trials: int, callback: TrialCallback, *, device: str = "cpu"
) -> None:
    """Train until the study has `trials` trials; write the best config after each.

    Errors of a trial are saved with it. Ctrl-C raises KeyboardInterrupt after the current step, a
    second one immediately.
    """
    if study.baseline is None:
        space = "The config's own values lie outside the search space"
        callback(f"{space}, so they are not tried as a baseline.", None)
    with _defer_interrupt() as stop_requested:
        while study.count_started() < trials:
            if stop_requested.is_set():
                raise KeyboardInterrupt
            trial = study.ask(trials)
            if trial is None:
                break
            _run_trial(search, study, trial, callback, stop_requested, device)
            best = write_best(search, study)
            best_f1 = f", best F1 {best.f1:.2f}" if best else ""
            done = f"{len(study.finished_trials())} of {trials} done"
            callback(f"trial {trial.number}: {_describe_outcome(trial)}; {done}{best_f1}", None)


@contextmanager
def _defer_interrupt() -> Iterator[Event]:
    """Set an event at the first Ctrl-C instead of raising, so that no write is cut short."""
    stop_requested = Event()

    def request_stop(*_: object) -> None:
        stop_requested.set()
        signal.signal(signal.SIGINT, handler)

    handler = signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop_requested
    finally:
        signal.signal(signal.SIGINT, handler)


def _run_trial(
    search: Search,
    study: Study,
    trial: Trial,
    callback: TrialCallback,
    stop_requested: Event,
    device: str,
) -> None:
    settings = [f"{key}={_format_value(value)}" for key, value in trial.settings.items()]
    callback(f"trial {trial.number}: {' '.join(settings)}", None)

    def report(progress: Progress) -> None:
        if stop_requested.is_set():
            raise KeyboardInterrupt
        callback(f"trial {trial.number}", progress)

    try:
        _train(search, study, trial, report, device)
    except KeyboardInterrupt:
        study.tell(trial)
        raise
    except StudyError:
        raise
    except ConfigError as error:
        trial.error = "; ".join(str(replace(detail, source="")) for detail in error.errors)
    except Exception as error:  # A bug in one trial must not cost the hours of the others.
        kind = "" if isinstance(error, SlotfillError) else f"{type(error).__name__}: "
        trial.error = f"{kind}{' '.join(str(error).split())}"
    if trial.error:
        trial.state = "failed"
    study.tell(trial)


def _train(
    search: Search, study: Study, trial: Trial, report: Callable[[Progress], None], device: str
) -> None:
    """Train with each seed, record each epoch, and set the state: finished or pruned."""
    config = search.config_with(trial.settings)
    for index in range(search.seeds):
        seeded = config.train.model_copy(update={"seed": config.train.seed + index})
        seeded_config = config.model_copy(update={"train": seeded})
        curve: list[float] = []
        trial.curves.append(curve)
        trainer = build_trainer(seeded_config, search.sentences, device)
        for epoch in trainer.train(report):
            curve.append(epoch.valid_f1 or 0.0)
            trial.seconds += epoch.seconds
            # Only the first seed is compared, so that it is the same one in all trials.
            should_prune = index == 0 and study.report(epoch.epoch, curve[-1])
            if should_prune and (search.seeds > 1 or not trainer.finished):
                trial.state = "pruned"
                return
        trial.f1s.append(curve[trainer.best.epoch - 1 if trainer.best else 0])
    trial.state, trial.f1 = "finished", statistics.mean(trial.f1s)


def write_best(search: Search, study: Study) -> Trial | None:
    """Write the complete config of the best trial so far; return the trial, if there is one."""
    trials = study.finished_trials()
    best = max(trials, key=lambda trial: -1 if trial.f1 is None else trial.f1, default=None)
    if best is None or best.f1 is None:
        return None
    header = [
        f"{HEADER}: trial {best.number}, the best of {len(trials)}, valid F1 {best.f1:.2f}.",
        f"# It is based on {search.source}. The study replaces this file: copy it to change it.",
        "#",
        f"#   slotfill train {search.best_path}",
    ]
    config = search.config_with(best.settings).model_copy(update={"data": search.data})
    write_in_folder(search.best_path, "\n".join([*header, config.to_yaml()]))
    return best


def _describe_outcome(trial: Trial) -> str:
    if trial.error:
        return f"failed: {trial.error}"
    pruned = f"pruned at valid F1 {trial.curves[0][-1]:.2f}"
    f1 = pruned if trial.f1 is None else f"valid F1 {trial.f1:.2f}"
    return f"{f1}, {format_count(sum(map(len, trial.curves)), 'epoch')} in {trial.seconds:.0f} s"


def _format_value(value: Any) -> str:
    """Return a value as one line of YAML, with four significant digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_format_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def summarize(search: Search, study: Study) -> TuningReport:
    """Return the report on a study, and write the config of its best trial."""
    best = write_best(search, study)
    path = search.best_path.as_posix()
    trials = study.finished_trials()
    trials.sort(key=lambda trial: 1 if trial.f1 is None else -trial.f1)
    return TuningReport(
        config=search.source,
        overrides=list(search.overrides),
        seeds=search.seeds,
        storage=study.location,
        best={"config": path, "trial": best.number, "f1": best.f1} if best else None,
        trials=trials,
        running=sum(trial.state == "running" for trial in study.trials()),
    )


def tables(report: TuningReport) -> list[tuple[str, list[list[str]]]]:
    """Return a table of the best trials, if there are any, as a title and columns."""
    best = [trial for trial in report.trials if trial.f1 is not None][:MAX_ROWS]
    if not best:
        return []
    columns = [
        ["rank", *(str(rank) for rank in range(1, len(best) + 1))],
        ["trial", *(str(trial.number) for trial in best)],
        ["valid F1", *(_mean_f1(trial.f1s) for trial in best)],
        ["epochs", *(str(sum(map(len, trial.curves))) for trial in best)],
        ["seconds", *(f"{trial.seconds:.0f}" for trial in best)],
    ]
    for key in best[0].settings:
        columns.append([key, *(_format_value(trial.settings[key]) for trial in best)])
    return [("The best trials", columns)]


def _mean_f1(f1s: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(f1s):.2f}" if len(f1s) > 1 else ""
    return f"{statistics.mean(f1s):.2f}{deviation}"


def legend(report: TuningReport) -> list[str]:
    """Return how many trials there are, and what the table shows."""
    states = Counter(trial.state for trial in report.trials)
    if report.running:
        states["running elsewhere"] = report.running
    if not states:
        return ["No trial has ended yet."]
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    lines = [f"{format_count(states.total(), 'trial')}: {counts}."]
    if report.best:
        seeds = report.seeds
        spread = f": mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
        unit = f"in percent over complete slots{spread}"
        lines.append(f"F1 on valid {unit}. The test split was not used.")
    return lines
