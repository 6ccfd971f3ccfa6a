"""Report of a comparison: scores of each config over its seeds, and their differences.

F1 is in percent over complete slots; deviations are of a sample, over the seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import combinations, product
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from slotfill.config.builtin import config_summary
from slotfill.evaluation.metrics import compute_f1, compute_interval
from slotfill.lab.compare.job import Job, list_evaluated_splits, read_result
from slotfill.lab.compare.learning_curve import LearningCurve, fit_doubling
from slotfill.lab.compare.plan import Plan
from slotfill.lab.compare.resampling import Subset
from slotfill.lab.compare.significance import (
    LEVEL,
    Comparison,
    compare_f1,
    correct_holm,
)
from slotfill.runs.environment import list_differences
from slotfill.runs.load import read_history, read_scores
from slotfill.runs.manifest import ENVIRONMENT, RunFiles
from slotfill.version import FORMAT

INTENT_RATES = {"accuracy": "intents", "frame_accuracy": "frames"}
"""The rates of intents in a report, and their headings."""

STATISTICS = {
    "test": "Welch's t-test over seeds and sentences, with the variance components of both",
    "level": LEVEL,
    "corrected": "Holm, over the configs compared with the first on one split of one corpus",
}

_ENVIRONMENT_SHAPE = {"versions": (None, {str: str})}

CountsKey = tuple[str, str, str, int]
"""Config, corpus, split and seed."""


@dataclass(slots=True)
class Spread:
    """Mean and standard deviation over the seeds and the folds; None without enough of them."""

    mean: float | None
    deviation: float | None

    def __str__(self) -> str:
        if self.mean is None:
            return ""
        return f"{self.mean:.2f}" + ("" if self.deviation is None else f" ± {self.deviation:.2f}")


@dataclass(frozen=True, slots=True)
class Difference(Comparison):
    """Difference in F1 from the first config on the same sentences."""

    p_corrected: float | None = None
    """Corrected for the number of configs."""


@dataclass(frozen=True, slots=True)
class PairDifference(Difference):
    """Difference in F1 of one config from another; corrected for the number of pairs."""

    config: str = ""
    other: str = ""
    corpus: str = ""
    split: str = ""


@dataclass(slots=True)
class SplitReport(Spread):
    """Scores of a config on one split: mean and deviation are those of F1."""

    f1s: dict[str, float]
    """F1 by seed, or by fold and seed, such as `fold1-seed1`."""
    intent: dict[str, Spread]
    """Rates of intents, if they are learned."""
    seeds: int = 0
    """Number of seeds that are compared: of those with folds, the ones whose folds all finished."""
    interval: tuple[float, float] | None = None
    """95 % interval of F1 over sentences, averaged over the seeds; all folds together."""
    difference_from_first: Difference | None = None


@dataclass(slots=True)
class RunReport:
    """One run; figures and scores are missing if it failed."""

    config: str
    corpus: str
    seed: int
    folder: str
    fold: int
    """The number of the held-out fold, from 1; 0 without folds."""
    failed: str | None
    """The error of a failed run."""
    parameters: int | None = None
    multiply_adds_per_token: int | None = None
    """In products of a forward pass."""
    peak_memory_mb: int | None = None
    """Of training: of the GPU, or of the process."""
    epochs: int = 0
    best_epoch: int | None = None
    train_seconds: float = 0.0
    train_tokens_per_second: float = 0.0
    train_tokens_per_second_by_epoch: list[float] = field(default_factory=list)
    predict_tokens_per_second: float = 0.0
    scores: dict[str, Any] = field(default_factory=dict)
    """Scores by split."""

    @property
    def key(self) -> str:
        """What distinguishes the run from others of the same config and corpus."""
        return f"fold{self.fold}-seed{self.seed}" if self.fold else str(self.seed)


@dataclass(slots=True)
class CorpusReport:
    """Runs of a config on one corpus: means of epochs and seconds, medians of speeds, peaks."""

    runs: int
    failed: int
    splits: dict[str, SplitReport]
    parameters: int | None = None
    multiply_adds_per_token: int | None = None
    peak_memory_mb: int | None = None
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
    subset: Subset | None = None
    """What its training sentences are a part of, if they are."""
    sentences: dict[str, int] = field(default_factory=dict)
    """Number of the sentences of each split on which configs are compared."""


@dataclass(slots=True, kw_only=True)
class ComparisonReport:
    """All results of a comparison."""

    format: int = FORMAT
    command: str
    date: str
    environment: dict[str, Any]
    """Machine and versions of the first run."""
    differences: list[str]
    """In what versions and processors the runs differ."""
    equal_outputs: dict[str, list[str]] = field(default_factory=dict)
    """By system that was not trained here: outputs with the same slots as one given before them."""
    statistics: dict[str, Any]
    """The tests and their settings."""
    seeds: list[int]
    """All seeds; `SplitReport.seeds` is the number of those of a config."""
    folds: int
    """0 without cross-validation."""
    corpora: dict[str, CorpusInfo]
    configs: list[ConfigReport]
    pairs: list[PairDifference]
    """The differences of all pairs of configs, if they were asked for."""
    learning_curves: list[LearningCurve]
    runs: list[RunReport]


def summarize(
    plan: Plan, errors: Mapping[str, str], command: str, *, all_pairs: bool = False
) -> ComparisonReport:
    """Return the report on the jobs of `plan`; `errors` are those of failed jobs by title."""
    runs, corpora = [], {}
    counts: dict[CountsKey, dict[int, np.ndarray]] = defaultdict(dict)
    environments: list[dict[str, Any]] = []
    for job in plan.jobs:
        splits = list_evaluated_splits(job.config.data)
        corpora[job.corpus] = CorpusInfo(
            plan.corpora[job.corpus], splits[0], splits, plan.subsets.get(job.corpus)
        )
        result = None if job.title in errors else read_result(job)
        runs.append(_run_report(job, result, errors.get(job.title)))
        if result is None:
            continue
        for split, rows in result["counts"].items():
            rows = np.array(rows).reshape(-1, 3)
            counts[job.name, job.corpus, split, job.seed][job.fold] = rows
        environments.append(RunFiles(job.folder).parse(ENVIRONMENT, _ENVIRONMENT_SHAPE))
    environment = {**environments[0]} if environments else {}
    environment.pop("command", None)  # It has paths of this machine; the report has its own.
    configs = [_config_report(name, config, runs, corpora) for name, config in plan.configs.items()]
    # The folds of a corpus together hold each of its sentences once.
    complete = {}
    for key, folds in counts.items():
        if len(folds) == max(plan.folds, 1):
            complete[key] = np.concatenate([folds[number] for number in sorted(folds)])
    pairs = add_statistics(configs, corpora, complete, all_pairs=all_pairs)
    return ComparisonReport(
        command=command,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        environment=environment,
        differences=list_differences(environments),
        statistics={"first": configs[0].name, **STATISTICS},
        seeds=plan.seeds,
        folds=plan.folds,
        corpora=corpora,
        configs=configs,
        pairs=pairs,
        learning_curves=_learning_curves(plan, corpora, complete),
        runs=runs,
    )


def _run_report(job: Job, result: Mapping[str, Any] | None, error: str | None) -> RunReport:
    report = RunReport(job.name, job.corpus, job.seed, job.folder.as_posix(), job.fold, error)
    if result is not None:
        files = RunFiles(job.folder)
        training, _ = read_scores(files)
        for name in ("parameters", "epochs", "best_epoch", "train_seconds"):
            setattr(report, name, training[name])
        for name in ("multiply_adds_per_token", "peak_memory_mb"):
            setattr(report, name, training.get(name))  # Runs of version 0.1 have none.
        speeds = [row["tokens_per_second"] for row in read_history(files)]
        report.train_tokens_per_second_by_epoch = speeds
        report.train_tokens_per_second = median(speeds)
        report.predict_tokens_per_second = result["tokens_per_second"]
        report.scores = training["splits"] | result["scores"]
    return report


def _config_report(
    name: str, config: str, runs: Sequence[RunReport], corpora: Mapping[str, CorpusInfo]
) -> ConfigReport:
    report = ConfigReport(name, config, config_summary(config) if config else "", {})
    for corpus, info in corpora.items():
        selected = [run for run in runs if (run.config, run.corpus) == (name, corpus)]
        if selected:
            report.corpora[corpus] = _corpus_report(selected, info.splits)
    return report


def _corpus_report(runs: Sequence[RunReport], splits: Sequence[str]) -> CorpusReport:
    finished = [run for run in runs if run.scores]
    report = CorpusReport(len(runs), len(runs) - len(finished), {})
    for split in splits:
        scores = {run.key: run.scores[split] for run in finished}
        f1s = {seed: score["overall"]["f1"] for seed, score in scores.items()}
        intents = [score["intent"] for score in scores.values() if "intent" in score]
        rates = {}
        for rate in INTENT_RATES if intents else ():
            rates[rate] = Spread(*mean_and_deviation([intent[rate] for intent in intents]))
        report.splits[split] = SplitReport(*mean_and_deviation(f1s.values()), f1s, rates)
    if finished:
        speeds = [speed for run in finished for speed in run.train_tokens_per_second_by_epoch]
        report.parameters = finished[0].parameters
        report.multiply_adds_per_token = finished[0].multiply_adds_per_token
        peaks = [run.peak_memory_mb for run in finished if run.peak_memory_mb is not None]
        report.peak_memory_mb = max(peaks, default=None)
        report.epochs = mean(run.epochs for run in finished)
        report.train_seconds = mean(run.train_seconds for run in finished)
        report.train_tokens_per_second = median(speeds)
        report.predict_tokens_per_second = median(run.predict_tokens_per_second for run in finished)
    return report


def mean_and_deviation(values: Collection[float]) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation; None without enough values."""
    return mean(values) if values else None, stdev(values) if len(values) > 1 else None


def add_statistics(
    configs: Sequence[ConfigReport],
    corpora: Mapping[str, CorpusInfo],
    counts: Mapping[CountsKey, np.ndarray],
    *,
    all_pairs: bool,
) -> list[PairDifference]:
    """Set seeds, intervals and differences, and the sentences; return the pairs, if asked for."""
    pairs: list[PairDifference] = []
    for corpus, info in corpora.items():
        for split in info.splits:
            _add_intervals(configs, corpus, split, counts)
            by_config = _stack_seeds(counts, corpus, split)
            info.sentences[split] = max((rows.shape[1] for rows in by_config.values()), default=0)
            _add_differences(configs, corpus, split, by_config)
            if all_pairs:
                names = [config.name for config in configs if config.name in by_config]
                chosen = [(b, a) for a, b in combinations(names, 2)]
                pairs += [
                    PairDifference(**asdict(found), config=a, other=b, corpus=corpus, split=split)
                    for (a, b), found in zip(chosen, _compare(by_config, chosen), strict=True)
                ]
    return pairs


def _add_intervals(
    configs: Sequence[ConfigReport],
    corpus: str,
    split: str,
    counts: Mapping[CountsKey, np.ndarray],
) -> None:
    """Set `seeds` and `interval` of all configs, over the seeds that finished on `split`."""
    for config in configs:
        own = [rows for key, rows in counts.items() if key[:3] == (config.name, corpus, split)]
        report = config.split(corpus, split)
        if report is not None and own:
            low, high = compute_interval(np.stack(own, axis=1)).mean(axis=1).tolist()
            report.seeds, report.interval = len(own), (low, high)


def _stack_seeds(
    counts: Mapping[CountsKey, np.ndarray], corpus: str, split: str
) -> dict[str, np.ndarray]:
    """Return the counts of each config on a split, `(seed, sentence, 3)`."""
    by_config = defaultdict(list)
    for (name, *place, _), rows in counts.items():
        if place == [corpus, split]:
            by_config[name].append(rows)
    return {name: np.stack(rows) for name, rows in by_config.items()}


def _compare(
    counts: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]]
) -> list[Difference]:
    """Return the difference of each pair, corrected for their number."""
    compared = [compare_f1(counts[a], counts[b]) for a, b in pairs]
    corrected = iter(correct_holm([found.p for found in compared if found.p is not None]))
    return [
        Difference(**asdict(found), p_corrected=None if found.p is None else next(corrected))
        for found in compared
    ]


def _add_differences(
    configs: Sequence[ConfigReport], corpus: str, split: str, counts: Mapping[str, np.ndarray]
) -> None:
    """Set `difference_from_first` of the other configs."""
    first, *others = (config.name for config in configs)
    pairs = [(name, first) for name in others if {name, first} <= counts.keys()]
    found = dict(zip(pairs, _compare(counts, pairs), strict=True))
    for config in configs:
        if report := config.split(corpus, split):
            report.difference_from_first = found.get((config.name, first))


def _learning_curves(
    plan: Plan, corpora: Mapping[str, CorpusInfo], counts: Mapping[CountsKey, np.ndarray]
) -> list[LearningCurve]:
    """Return a curve for each config and each corpus that subsets were drawn from."""
    by_corpus: dict[str, dict[str, int]] = defaultdict(dict)
    for name, subset in plan.subsets.items():
        by_corpus[subset.corpus][name] = subset.sentences
    epochs = {job.name: job.config.train.epochs for job in plan.jobs}
    curves = []
    for (corpus, sizes), config in product(by_corpus.items(), plan.configs):
        split = corpora[next(iter(sizes))].final
        complete = []
        for seed in plan.seeds:
            keys = [(config, name, split, seed) for name in sizes]
            if counts.keys() >= set(keys):
                complete.append([counts[key] for key in keys])
        if complete:
            stacked = np.array(complete).swapaxes(0, 1)
            f1s = compute_f1(stacked.sum(axis=2)).tolist()
            numbers = list(sizes.values())
            doubling = fit_doubling(numbers, stacked)
            curves.append(
                LearningCurve(config, corpus, split, numbers, f1s, epochs[config], doubling)
            )
    return curves
