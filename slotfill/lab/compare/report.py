"""Report of a comparison: scores of each config over its seeds, and their differences.

F1 is in percent over complete slots; deviations are of a sample, over the seeds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from slotfill.config.builtin import config_summary
from slotfill.lab.compare.jobs import Job, JobResult, Plan, evaluated_splits, read_result
from slotfill.lab.compare.significance import (
    DRAWS,
    bootstrap_interval,
    correct_holm,
    mean_f1,
    paired_randomization_test,
)
from slotfill.runs.load import read_text
from slotfill.version import FORMAT

LEVEL = 0.05
"""Significance level."""

INTENT_RATES = {"accuracy": "intents", "frame_accuracy": "frames"}
"""The rates of intents in a report, and their headings."""

STATISTICS = {
    "test": "paired approximate randomization; outputs of all seeds are swapped together",
    "interval": "paired bootstrap over sentences, 95 %, percentiles",
    "draws": DRAWS,
    "level": LEVEL,
    "corrected": "Holm, over the configs compared with the first on one split of one corpus",
}

Counts = Mapping[tuple[str, str, str, int], np.ndarray]
"""Slot counts `(sentence, 3)` by config, corpus, split and seed."""


@dataclass(slots=True)
class Spread:
    """Mean and standard deviation over the seeds; None without enough of them."""

    mean: float | None
    deviation: float | None

    def __str__(self) -> str:
        if self.mean is None:
            return ""
        return f"{self.mean:.2f}" + ("" if self.deviation is None else f" ± {self.deviation:.2f}")


@dataclass(slots=True)
class Difference:
    """Difference in F1 from the first config on the same sentences."""

    seeds: list[int]
    """Seeds that finished with both configs."""
    difference: float
    interval: tuple[float, float]
    """95 % interval."""
    p: float
    p_corrected: float
    """Corrected for the number of configs."""


@dataclass(slots=True)
class SplitReport(Spread):
    """Scores of a config on one split: mean and deviation are those of F1."""

    f1s: dict[str, float]
    """F1 by seed."""
    intent: dict[str, Spread]
    """Rates of intents, if they are learned."""
    against_first: Difference | None = None


@dataclass(slots=True)
class CorpusReport:
    """Runs of a config on one corpus: means of epochs and seconds, medians of speeds."""

    runs: int
    failed: int
    splits: dict[str, SplitReport]
    parameters: int | None = None
    epochs: float | None = None
    train_seconds: float | None = None
    train_tokens_per_second: float | None = None
    predict_tokens_per_second: float | None = None


@dataclass(slots=True)
class ConfigReport:
    """Runs of one config."""

    name: str
    config: str
    """Name or path of the config, as on the command line."""
    summary: str
    """First line of the header of its file."""
    corpora: dict[str, CorpusReport]

    def split(self, corpus: str, split: str) -> SplitReport | None:
        """Return the scores on a split, or None if the config was not trained on the corpus."""
        return self.corpora[corpus].splits[split] if corpus in self.corpora else None


@dataclass(slots=True)
class CorpusInfo:
    """A corpus, its main split, and all splits to compare on."""

    path: str
    final: str
    splits: list[str]


@dataclass(slots=True, kw_only=True)
class ComparisonReport:
    """All results of a comparison."""

    format: int = FORMAT
    command: str
    date: str
    environment: dict[str, Any]
    """Machine and versions of the first run."""
    statistics: dict[str, Any]
    """The tests and their settings."""
    seeds: list[int]
    corpora: dict[str, CorpusInfo]
    configs: list[ConfigReport]
    runs: list[dict[str, Any]]
    """Each run with its speeds, its scores by split, or the error why it failed."""


def summarize(plan: Plan, errors: Mapping[str, str], command: str) -> ComparisonReport:
    """Return the report on the jobs of `plan`; `errors` are those of failed jobs by title."""
    runs, corpora, counts = [], {}, {}
    environment: dict[str, Any] = {}
    for job in plan.jobs:
        splits = evaluated_splits(job.config.data)
        corpora[job.corpus] = CorpusInfo(plan.corpora[job.corpus], splits[0], splits)
        error = errors.get(job.title)
        result = None if error else read_result(job)
        runs.append(_summarize_run(job, result, error))
        if result is not None:
            for split, rows in result.counts.items():
                counts[job.name, job.corpus, split, job.seed] = np.array(rows).reshape(-1, 3)
            environment = environment or json.loads(read_text(job.folder / "environment.json"))
    environment.pop("command", None)  # It has paths of this machine; the report has its own.
    configs = [_summarize_config(*item, runs, corpora) for item in plan.configs.items()]
    for corpus, info in corpora.items():
        for split in info.splits:
            _add_differences(configs, corpus, split, counts)
    return ComparisonReport(
        command=command,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        environment=environment,
        statistics={"first": configs[0].name, **STATISTICS},
        seeds=plan.seeds,
        corpora=corpora,
        configs=configs,
        runs=runs,
    )


def _summarize_run(job: Job, result: JobResult | None, error: str | None) -> dict[str, Any]:
    job_fields = {"config": job.name, "corpus": job.corpus, "seed": job.seed}
    run = job_fields | {"folder": job.folder.as_posix(), "failed": error}
    if result is None:
        return run
    training = json.loads(read_text(job.folder / "scores.json"))
    history = csv.DictReader(read_text(job.folder / "history.csv").splitlines())
    speeds = [float(row["tokens_per_second"]) for row in history]
    fields = ("parameters", "epochs", "best_epoch", "train_seconds")
    return {
        **run,
        **{name: training[name] for name in fields},
        "train_tokens_per_second": median(speeds),
        "train_tokens_per_second_by_epoch": speeds,
        "predict_tokens_per_second": result.tokens_per_second,
        "scores": training["splits"] | result.scores,
    }


def _summarize_config(
    name: str, config: str, runs: Sequence[Mapping[str, Any]], corpora: Mapping[str, CorpusInfo]
) -> ConfigReport:
    reports = {}
    for corpus, info in corpora.items():
        selected = [run for run in runs if (run["config"], run["corpus"]) == (name, corpus)]
        finished = [run for run in selected if not run["failed"]]
        if not selected:
            continue
        splits = {split: _summarize_split(finished, split) for split in info.splits}
        report = CorpusReport(len(selected), len(selected) - len(finished), splits)
        if finished:
            report.parameters = finished[0]["parameters"]
            report.epochs = mean(run["epochs"] for run in finished)
            report.train_seconds = mean(run["train_seconds"] for run in finished)
            report.train_tokens_per_second = median(
                speed for run in finished for speed in run["train_tokens_per_second_by_epoch"]
            )
            report.predict_tokens_per_second = median(
                run["predict_tokens_per_second"] for run in finished
            )
        reports[corpus] = report
    return ConfigReport(name, config, config_summary(config), reports)


def _summarize_split(finished: Sequence[Mapping[str, Any]], split: str) -> SplitReport:
    f1s = {str(run["seed"]): run["scores"][split]["overall"]["f1"] for run in finished}
    intents = [run["scores"][split].get("intent") for run in finished]
    rates = {}
    if any(intents):
        rates = {rate: Spread(*_mean_std([i[rate] for i in intents])) for rate in INTENT_RATES}
    return SplitReport(*_mean_std(f1s.values()), f1s, rates)


def _mean_std(values: Collection[float]) -> tuple[float | None, float | None]:
    return mean(values) if values else None, stdev(values) if len(values) > 1 else None


def _add_differences(
    configs: Sequence[ConfigReport], corpus: str, split: str, counts: Counts
) -> None:
    """Set `against_first` of all configs but the first, over the seeds both have on `split`."""
    first = configs[0].name
    differences = []
    for config in configs[1:]:
        keys = [key for key in counts if key[:3] == (config.name, corpus, split)]
        seeds = [key[3] for key in keys if (first, *key[1:]) in counts]
        report = config.split(corpus, split)
        if report is not None and seeds:
            a, b = (
                np.stack([counts[name, corpus, split, seed] for seed in seeds])
                for name in (config.name, first)
            )
            p = paired_randomization_test(a, b)
            report.against_first = Difference(
                seeds, mean_f1(a) - mean_f1(b), bootstrap_interval(a, b), p, p
            )
            differences.append(report.against_first)
    corrected = correct_holm([difference.p for difference in differences])
    for difference, p in zip(differences, corrected, strict=True):
        difference.p_corrected = p
