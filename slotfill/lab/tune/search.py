"""Tuning: plan a search, then train its config with the settings that a study asks for, trial after
trial.

Nothing here can read the sentences of test, since no config that it trains with names them.
"""

from __future__ import annotations

import hashlib
import json
import signal
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slotfill.config.models import Config, DataConfig
from slotfill.config.recipes import load_config
from slotfill.config.validate import parse_config
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split
from slotfill.errors import SlotfillError, UsageError
from slotfill.files import write_new_file
from slotfill.lab.tune.study import Settings, Study, StudyError, Trial
from slotfill.model.build import check_built
from slotfill.runs.train import prepare
from slotfill.training.defaults import resolve_budget
from slotfill.training.profiler import Times
from slotfill.training.trainer import Epoch, Progress
from slotfill.version import FORMAT

SPLITS = ("train", "valid")
"""All that a search reads."""

HEADER = "# Written by slotfill tune"
"""What `best.yaml` begins with, and no file of the user's."""

Report = Callable[[str, Progress | None], None]
"""Told a line, or of which trial the progress is."""


class Stopped(Exception):
    """Ctrl-C: the trials that have ended stay, and the same command goes on."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is tuned: the config `given` with `overrides`, over its ranges; a trial's F1 is the mean
    over `seeds` seeds.

    `config` is complete but for the sentences of test, and `data` has those as well, for `slotfill
    train`; `corpus` has the sentences of train and valid; `out` is the folder of the study, and
    `name` what it is called.
    """

    given: str
    overrides: Sequence[str]
    name: str
    config: Config
    data: DataConfig
    corpus: Mapping[str, Sequence[Sentence]]
    seeds: int
    out: Path

    @property
    def best(self) -> Path:
        """The file for the best config."""
        return self.out / "best.yaml"

    def config_with(self, settings: Settings) -> Config:
        """Return `config` with `settings` instead of the ranges. Raises ConfigError where they do
        not fit.
        """
        chosen = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        return parse_config(self.config.to_yaml(), self.given, chosen, need_data=True)


def plan(
    given: str, overrides: Sequence[str] = (), *, seeds: int = 1, out: Path | None = None
) -> Search:
    """Return the search that the config `given` asks for, checked, its sentences read.

    Raises ConfigError that lists all that is wrong in it, DataError where its sentences cannot be
    read, and UsageError where it has no ranges or `out` is no place for a study.
    """
    name, whole = load_config(given, overrides)
    _, config = load_config(given, [*overrides, "data.test=null"], need_data=True)
    if not config.tune:
        example = "tune: {train.learning_rate: {low: 0.001, high: 0.01, log: true}}"
        raise UsageError(f"{given}: no ranges; say in it which keys to try, and how, as {example}")
    check_built(config, given, overrides)
    intents = bool(config.intent) or "intent" in config.tune
    corpus = {split: read_split(config.data, split, intents=intents).sentences for split in SPLITS}
    search = Search(
        given, overrides, name, config, whole.data, corpus, seeds, out or Path("tuned") / name
    )
    if search.out.exists() and not search.out.is_dir():
        raise UsageError(f"--out {search.out}: is a file; give the folder for the study")
    if search.best.exists() and not search.best.read_text(
        encoding="utf-8", errors="replace"
    ).startswith(HEADER):
        raise UsageError(
            f"{search.best}: is there already, and not by slotfill tune; choose another --out"
        )
    if search.best.exists() and Path(given).exists() and search.best.samefile(given):
        raise UsageError(
            f"{given}: is what this study would write; copy it, or choose another --out"
        )
    return search


def open_study(search: Search, storage: str | None = None) -> Study:
    """Return the study of `search`, begun or gone on with, in `storage` or in its folder.

    Raises UsageError where the one that is there is of another config, and RunError where it cannot
    be read.
    """
    if storage is not None and "://" not in storage and not Path(storage).parent.is_dir():
        raise UsageError(f"--storage {storage}: there is no such folder to write it in")
    first = _baseline_settings(search)
    try:
        search.out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(f"--out {search.out}: cannot be made: {fault.strerror}") from None
    config = search.config
    about = config.model_dump()
    # Where the sentences are may differ between machines; what they are may not.
    about["data"] = {
        key: value for key, value in about["data"].items() if key not in ("path", *SPLITS, "test")
    }
    about["sentences"] = {split: _digest(search.corpus[split]) for split in SPLITS}
    about["tune"] = {
        key: tried if isinstance(tried, list) else tried.model_dump()
        for key, tried in config.tune.items()
    }
    about |= {"format": FORMAT, "seeds": search.seeds}
    return Study(
        storage or str(search.out / "study.journal"),
        search.name,
        about,
        config.tune,
        first=first,
        seed=config.train.seed,
        warmup=resolve_budget(config.train, len(search.corpus["train"])).epochs // 4,
    )


def run_trials(
    search: Search, study: Study, trials: int, report: Report, *, device: str = "cpu"
) -> None:
    """Train until the study has `trials` trials in all, and write the best config after each.

    A trial that fails is noted, and the next begins. Raises Stopped at Ctrl-C.
    """
    if study.first is None:
        report(
            "The config's own values are not all among those to try, so no trial is the config as"
            " it is.",
            None,
        )
    with _stopping() as is_asked:
        while study.count_started() < trials:
            if is_asked():
                raise Stopped
            trial = study.ask(trials)
            if trial is None:
                break
            _run_trial(search, study, trial, report, is_asked, device)
            best = write_best(search, study)
            so_far = f", best F1 {best.f1:.2f}" if best else ""
            report(
                f"trial {trial.number}: {outcome(trial)}; {len(study.finished_trials())} of {trials}"
                f" done{so_far}",
                None,
            )


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Give what tells whether Ctrl-C was pressed, so that it cuts nothing short; the second Ctrl-C
    ends at once.
    """
    pressed: list[int] = []

    def stop(number: int, _: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, kept)

    kept = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, kept)


def _run_trial(
    search: Search,
    study: Study,
    trial: Trial,
    report: Report,
    is_asked: Callable[[], bool],
    device: str,
) -> None:
    """Train a trial to its end, and note it in the study."""
    report(f"trial {trial.number}: {shown(trial.settings)}", None)

    def step(progress: Progress) -> None:
        if is_asked():
            raise Stopped
        report(f"trial {trial.number}", progress)

    def should_prune(epoch: Epoch) -> bool:
        return study.report(epoch.epoch, epoch.valid_f1)

    try:
        trial.state = _train(search, trial, device, step, should_prune)
    except Stopped:
        study.tell(trial)
        raise
    except StudyError:
        raise
    except Exception as fault:  # A fault in one trial must not cost the hours of the others.
        kind = "" if isinstance(fault, SlotfillError) else f"{type(fault).__name__}: "
        trial.state, trial.fault = (
            "failed",
            f"{kind}{' '.join(str(fault).split())}".removeprefix("command line: "),
        )
    study.tell(trial)


def _train(
    search: Search,
    trial: Trial,
    device: str,
    step: Callable[[Progress], None],
    should_prune: Callable[[Epoch], bool],
) -> str:
    """Train with each seed in turn, noting each epoch; return whether the trial has finished or was
    pruned.
    """
    config = search.config_with(trial.settings)
    for place in range(search.seeds):
        seeded = config.train.model_copy(update={"seed": config.train.seed + place})
        training = prepare(
            config.model_copy(update={"train": seeded}), search.corpus, device, Times()
        )
        trial.curves.append([])
        try:
            while not training.finished:
                training.epoch(step)
                epoch = training.history[-1]
                trial.curves[place].append(epoch.valid_f1)
                trial.seconds += epoch.seconds
                # By the first seed alone, so that like is compared with like.
                hopeless = place == 0 and should_prune(epoch)
                if hopeless and (search.seeds > 1 or not training.finished):
                    return "pruned"
        finally:
            training.workers.close()
    trial.f1 = statistics.mean(map(max, trial.curves))
    return "finished"


def write_best(search: Search, study: Study) -> Trial | None:
    """Write the whole config with the settings of the best trial so far, and return that trial, if
    there is one.
    """
    done = study.finished_trials()
    best = max(
        (trial for trial in done if trial.f1 is not None),
        key=lambda trial: trial.f1 or 0,
        default=None,
    )
    if best is not None:
        header = [
            f"{HEADER}: trial {best.number}, the best of {len(done)}, valid F1 {best.f1:.2f}.",
            (
                f"# {search.given} was the start. The study writes this file anew as it goes on:"
                " copy it to change it."
            ),
            "#",
            f"#   slotfill train {search.best}",
        ]
        config = search.config_with(best.settings).model_copy(update={"data": search.data})
        write_new_file(search.best, "\n".join([*header, config.to_yaml()]))
    return best


def outcome(trial: Trial) -> str:
    """Return in words how a trial has ended."""
    epochs = sum(map(len, trial.curves))
    in_time = f"{epochs} epoch{'s' * (epochs > 1)} in {trial.seconds:.0f} s"
    if trial.state == "finished":
        return f"valid F1 {trial.f1:.2f}, {in_time}"
    return (
        f"failed: {trial.fault}"
        if trial.fault
        else f"pruned at valid F1 {trial.curves[0][-1]:.2f}, {in_time}"
    )


def shown(settings: Settings) -> str:
    """Return settings as they are written on the command line."""
    return " ".join(f"{key}={value_shown(value)}" for key, value in settings.items())


def value_shown(value: Any) -> str:
    """Return a value as YAML has it, in one line; four digits are more than training can tell
    apart.
    """
    if isinstance(value, list):
        return f"[{', '.join(map(value_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {value_shown(each)}' for key, each in value.items())}}}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _digest(sentences: Sequence[Sentence]) -> str:
    told = repr([(each.text, each.tokens, each.slots, each.intent) for each in sentences])
    return hashlib.sha256(told.encode()).hexdigest()


def _baseline_settings(search: Search) -> Settings | None:
    """Return the settings that the config has by itself, or None where they are not all among what
    is tried.
    """
    own = search.config.model_dump()
    found: Settings = {}
    for key, tried in search.config.tune.items():
        if isinstance(tried, list):
            same = [
                value for value in tried if search.config_with({key: value}).model_dump() == own
            ]
        else:
            value = _value_at(own, key.split("."))
            same = (
                [value]
                if isinstance(value, int | float) and tried.low <= value <= tried.high
                else []
            )
        if not same:
            return None
        found[key] = same[0]
    return found


def _value_at(held: Any, steps: Sequence[str]) -> Any:
    """Return what stands where the keys and list places `steps` lead to, or None."""
    for step in steps:
        if isinstance(held, list):
            held = held[int(step)] if step.isdecimal() and int(step) < len(held) else None
        else:
            held = held.get(step) if isinstance(held, dict) else None
    return held
