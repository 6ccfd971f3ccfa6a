"""Report of a hyperparameter search: its trials and the best ones as a table."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from slotfill.lab.tune.search import Search, format_value, write_best
from slotfill.lab.tune.study import Study, Trial
from slotfill.version import FORMAT

MAX_ROWS = 10
"""Rows in the table of the best trials."""


@dataclass(slots=True)
class Best:
    """The best trial and the file with its config."""

    config: str
    trial: int
    f1: float | None


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
    best: Best | None
    trials: list[Trial]
    """All trials, the best first."""
    running: int
    """Trials that are running, on this machine or on others."""


def summarize(search: Search, study: Study) -> TuningReport:
    """Return the report on a study, and write the config of its best trial."""
    best = write_best(search, study)
    trials = study.finished_trials()
    trials.sort(key=lambda trial: (-1 if trial.f1 is None else -trial.f1, trial.number))
    return TuningReport(
        config=search.source,
        overrides=list(search.overrides),
        seeds=search.seeds,
        storage=study.location,
        best=Best(search.best_path.as_posix(), best.number, best.f1) if best else None,
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
        ["valid F1", *map(_f1, best)],
        ["epochs", *(str(sum(map(len, trial.curves))) for trial in best)],
        ["seconds", *(f"{trial.seconds:.0f}" for trial in best)],
    ]
    for key in best[0].settings:
        columns.append([key, *(format_value(trial.settings[key]) for trial in best)])
    return [("The best trials", columns)]


def legend(report: TuningReport) -> list[str]:
    """Return how many trials there are, and what the table shows."""
    states = Counter(trial.state for trial in report.trials)
    states["running elsewhere"] += report.running
    total = states.total()
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    if not total:
        return ["No trial has ended yet."]
    lines = [f"{total} trial{'s' * (total != 1)}: {counts}."]
    if report.best:
        spread = f": mean ± standard deviation over {report.seeds} seeds" * (report.seeds > 1)
        lines.append(
            f"F1 on valid in percent over complete slots{spread}. The test split was not used."
        )
    return lines


def _f1(trial: Trial) -> str:
    std = f" ± {statistics.stdev(trial.f1s):.2f}" if len(trial.f1s) > 1 else ""
    return f"{trial.f1:.2f}{std}"
