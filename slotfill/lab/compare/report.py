"""Report of a comparison: scores of each config over its seeds, and their differences.

F1 is in percent over complete slots; deviations are of a sample, over the seeds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from slotfill.config.builtin import config_summary
from slotfill.lab.compare.jobs import Job, Plan, evaluated_splits, read_result
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

Report = dict[str, Any]
"""A report, or a part of it, as JSON data."""

Counts = Mapping[tuple[str, str, str, int], np.ndarray]
"""Slot counts `(sentence, 3)` by config, corpus, split and seed."""


def summarize(plan: Plan, errors: Mapping[str, str], command: str) -> Report:
    """Return the report on the jobs of `plan`; `errors` are those of failed jobs by title."""
    runs, corpora, counts = [], {}, {}
    environment: Report = {}
    for job in plan.jobs:
        splits = evaluated_splits(job.config.data)
        path = plan.corpora[job.corpus]
        corpora[job.corpus] = {"path": path, "final": splits[0], "splits": splits}
        error = errors.get(job.title)
        result = None if error else read_result(job)
        runs.append(_summarize_run(job, result, error))
        if result is not None:
            for split, rows in result["counts"].items():
                counts[job.name, job.corpus, split, job.seed] = np.array(rows).reshape(-1, 3)
            environment = environment or json.loads(read_text(job.folder / "environment.json"))
    environment.pop("command", None)  # It has paths of this machine; the report has its own.
    configs = []
    for name, config in plan.configs.items():
        summaries = {}
        for corpus, info in corpora.items():
            selected = [run for run in runs if (run["config"], run["corpus"]) == (name, corpus)]
            if selected:
                summaries[corpus] = _summarize_runs(selected, info["splits"])
        fields = {"name": name, "config": config, "summary": config_summary(config)}
        configs.append({**fields, "corpora": summaries})
    for corpus, info in corpora.items():
        for split in info["splits"]:
            _add_differences(configs, corpus, split, counts)
    return {
        "format": FORMAT,
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "environment": environment,  # Machine and versions of the first run.
        "statistics": {"first": configs[0]["name"], **STATISTICS},
        "seeds": plan.seeds,
        "corpora": corpora,
        "configs": configs,
        "runs": runs,
    }


def find_scores(config: Report, corpus: str, split: str) -> Report | None:
    """Return the scores of a config on a split, or None if it was not trained on the corpus."""
    summary = config["corpora"].get(corpus)
    return summary["splits"][split] if summary else None


def _summarize_run(job: Job, result: Report | None, error: str | None) -> Report:
    """Return a row on one run: its speeds and its scores by split, or why it failed."""
    run = {"config": job.name, "corpus": job.corpus, "seed": job.seed}
    run |= {"folder": job.folder.as_posix(), "failed": error}
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
        "predict_tokens_per_second": result["tokens_per_second"],
        "scores": training["splits"] | result["scores"],
    }


def _summarize_runs(runs: Sequence[Report], splits: Sequence[str]) -> Report:
    """Return means of scores, epochs and seconds, and medians of speeds, of runs with all seeds."""
    finished = [run for run in runs if not run["failed"]]
    summary: Report = {"runs": len(runs), "failed": len(runs) - len(finished), "splits": {}}
    for split in splits:
        scores = {str(run["seed"]): run["scores"][split] for run in finished}
        f1s = {seed: score["overall"]["f1"] for seed, score in scores.items()}
        intents = [score["intent"] for score in scores.values() if "intent" in score]
        rates = {name: _spread([intent[name] for intent in intents]) for name in INTENT_RATES}
        summary["splits"][split] = {
            **_spread(f1s.values()),
            "f1s": f1s,
            "intent": rates if intents else {},
            "against_first": None,
        }
    if finished:
        speeds = [speed for run in finished for speed in run["train_tokens_per_second_by_epoch"]]
        summary |= {
            "parameters": finished[0]["parameters"],
            "epochs": mean(run["epochs"] for run in finished),
            "train_seconds": mean(run["train_seconds"] for run in finished),
            "train_tokens_per_second": median(speeds),
            "predict_tokens_per_second": median(r["predict_tokens_per_second"] for r in finished),
        }
    return summary


def _spread(values: Collection[float]) -> Report:
    return {
        "mean": mean(values) if values else None,
        "deviation": stdev(values) if len(values) > 1 else None,
    }


def _add_differences(configs: Sequence[Report], corpus: str, split: str, counts: Counts) -> None:
    """Set `against_first` of all configs but the first, over the seeds both have on `split`."""
    first = configs[0]["name"]
    differences = []
    for config in configs[1:]:
        name, scores = config["name"], find_scores(config, corpus, split)
        seeds = [key[3] for key in counts if key[:3] == (name, corpus, split)]
        seeds = [seed for seed in seeds if (first, corpus, split, seed) in counts]
        if scores is None or not seeds:
            continue
        a, b = (np.stack([counts[n, corpus, split, seed] for seed in seeds]) for n in (name, first))
        difference: Report = {"seeds": seeds, "difference": mean_f1(a) - mean_f1(b)}
        difference["interval"] = bootstrap_interval(a, b)
        difference["p"] = paired_randomization_test(a, b)
        scores["against_first"] = difference
        differences.append(difference)
    corrected = correct_holm([difference["p"] for difference in differences])
    for difference, p in zip(differences, corrected, strict=True):
        difference["p_corrected"] = p
