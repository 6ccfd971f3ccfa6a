"""What a comparison came to: its numbers as what JSON can hold, and those as tables.

F1 is in percent over whole slots; `deviation` is that of a sample, over the seeds.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from slotfill.config.recipes import config_summary
from slotfill.lab.compare.jobs import Job, Plan, read_result, scored_splits
from slotfill.lab.compare.significance import (
    DRAWS,
    bootstrap,
    holm,
    mean_f1,
    paired_randomization_test,
)
from slotfill.version import FORMAT

LEVEL = 0.05
INTENT_RATES = {"accuracy": "intents", "frame_accuracy": "frames"}
"""The rates of intents that are shown, and what each is called."""

Report = dict[str, Any]
Table = tuple[str, list[list[str]]]
"""A title, and columns, each its heading and a cell for each row; the first names the rows."""


def summarize(plan: Plan, faults: Mapping[str, str], command: str) -> Report:
    """Return all that the runs of `plan` gave: each of them, each config over its seeds, and
    against the first.
    """
    results = {job.title: read_result(job) for job in plan.jobs if job.title not in faults}
    runs = [_run(job, results.get(job.title), faults.get(job.title)) for job in plan.jobs]
    corpora: Report = {}
    for job in plan.jobs:
        splits = scored_splits(job.config.data)
        corpora.setdefault(
            job.corpus, {"path": plan.corpora[job.corpus], "final": splits[0], "splits": splits}
        )
    configs = [_config(name, given, runs, corpora) for name, given in plan.configs.items()]
    first = configs[0]["name"]
    counts = {
        (job.name, job.corpus, split, job.seed): np.array(rows).reshape(-1, 3)
        for job in plan.jobs
        if job.title in results
        for split, rows in results[job.title]["counts"].items()
    }
    for corpus, about in corpora.items():
        for split in about["splits"]:
            _compare(configs, corpus, split, counts)
    environment: Report = next((run["environment"] for run in runs if "environment" in run), {})
    for each in runs:
        each.pop("environment", None)
    return {
        "format": FORMAT,
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "environment": environment,
        "statistics": {
            "first": first,
            "test": (
                "paired approximate paired_randomization_test; a sentence's outputs of all seeds are swapped"
                " together"
            ),
            "interval": "paired bootstrap over sentences, 95 %, percentiles",
            "draws": DRAWS,
            "level": LEVEL,
            "corrected": (
                "p_corrected: Holm, over the configs compared with the first on one split of one"
                " corpus"
            ),
        },
        "seeds": plan.seeds,
        "corpora": corpora,
        "configs": configs,
        "runs": runs,
    }


def _run(job: Job, found: Report | None, fault: str | None) -> Report:
    about: Report = {
        "config": job.name,
        "corpus": job.corpus,
        "seed": job.seed,
        "folder": job.folder.as_posix(),
    }
    if found is None:
        return about | {"failed": fault}
    notes = _json(job.folder / "scores.json")
    with (job.folder / "history.csv").open(encoding="utf-8", newline="") as file:
        speeds = [float(row["tokens_per_second"]) for row in csv.DictReader(file)]
    environment = _json(job.folder / "environment.json")
    environment.pop(
        "command"
    )  # It names this machine's folders; the comparison's own is in the report.
    return about | {
        "failed": None,
        "parameters": notes["parameters"],
        "epochs": notes["epochs"],
        "best_epoch": notes["best_epoch"],
        "train_seconds": notes["train_seconds"],
        "train_tokens_per_second": statistics.median(speeds),
        "train_tokens_per_second_by_epoch": speeds,
        "predict_tokens_per_second": found["tokens_per_second"],
        "scores": notes["splits"] | found["scores"],
        "environment": environment,
    }


def _json(path: Path) -> Report:
    found: Report = json.loads(path.read_text(encoding="utf-8"))
    return found


def _config(name: str, given: str, runs: Sequence[Report], corpora: Report) -> Report:
    """Return what the runs of one config came to: sizes and speeds at its top are those on its
    first corpus.
    """
    found: Report = {}
    for corpus, about in corpora.items():
        mine = [run for run in runs if (run["config"], run["corpus"]) == (name, corpus)]
        good = [run for run in mine if not run["failed"]]
        if not mine:
            continue
        found[corpus] = {"runs": len(mine), "failed": len(mine) - len(good), "splits": {}}
        if good:
            epochs = [speed for run in good for speed in run["train_tokens_per_second_by_epoch"]]
            found[corpus] |= {
                "parameters": good[0]["parameters"],
                "epochs": statistics.mean(run["epochs"] for run in good),
                "train_seconds": statistics.mean(run["train_seconds"] for run in good),
                "train_tokens_per_second": statistics.median(epochs),
                "predict_tokens_per_second": statistics.median(
                    run["predict_tokens_per_second"] for run in good
                ),
            }
        for split in about["splits"]:
            scores = {str(run["seed"]): run["scores"][split] for run in good}
            f1s = {seed: score["overall"]["f1"] for seed, score in scores.items()}
            found[corpus]["splits"][split] = _spread(f1s.values()) | {"f1s": f1s}
            intents = [score["intent"] for score in scores.values() if "intent" in score]
            if intents:
                rates = {key: _spread(each[key] for each in intents) for key in INTENT_RATES}
                found[corpus]["splits"][split]["intent"] = rates
    sizes: Report = next((about for about in found.values() if "parameters" in about), {})
    keys = ("parameters", "train_tokens_per_second", "predict_tokens_per_second")
    top = {key: sizes.get(key) for key in keys}
    return {
        "name": name,
        "config": given,
        "summary": config_summary(given),
        **top,
        "corpora": found,
    }


def _spread(figures: Iterable[float]) -> Report:
    values = list(figures)
    return {
        "mean": statistics.mean(values) if values else None,
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


def _compare(
    configs: Sequence[Report],
    corpus: str,
    split: str,
    counts: Mapping[tuple[str, str, str, int], np.ndarray],
) -> None:
    """Put into each config but the first how it differs from the first on `split`, over the seeds
    both have.
    """
    first = configs[0]["name"]
    found: list[Report] = []
    for config in configs[1:]:
        keys = [key for key in counts if key[:3] == (config["name"], corpus, split)]
        seeds = [key[3] for key in keys if (first, *key[1:]) in counts]
        if not seeds:
            continue
        one = np.stack([counts[config["name"], corpus, split, seed] for seed in seeds])
        other = np.stack([counts[first, corpus, split, seed] for seed in seeds])
        against = {
            "seeds": seeds,
            "difference": mean_f1(one) - mean_f1(other),
            "interval": list(bootstrap(one, other)),
            "p": paired_randomization_test(one, other),
        }
        config["corpora"][corpus]["splits"][split]["against_first"] = against
        found.append(against)
    for against, p in zip(found, holm([against["p"] for against in found]), strict=True):
        against["p_corrected"] = p


def tables(report: Report) -> list[Table]:
    """Return the tables of a report: F1, intents where they are learned, sizes and speeds,
    differences if any.
    """
    differences = [_differences(report)] if len(report["configs"]) > 1 else []
    return [_f1s(report), *_intents(report), _sizes(report), *differences]


def _f1s(report: Report) -> Table:
    """Return F1 on each split; `*`, `**` and `!` are what `legend` says."""
    columns = [_names(report)]
    for corpus, split, heading in _splits(report):
        columns.append(
            [heading, *(_f1(config["corpora"].get(corpus), split) for config in report["configs"])]
        )
    return "F1 of slots", columns


def _intents(report: Report) -> list[Table]:
    """Return the share of sentences whose intents are right, and whole frames; no table where none
    are learned.
    """
    columns = [_names(report)]
    for corpus, split, heading in _splits(report):
        found = [_on_split(config, corpus, split).get("intent") for config in report["configs"]]
        for key, name in INTENT_RATES.items():
            if any(found):
                columns.append(
                    [f"{heading} {name}", *(_figure(each[key]) if each else "" for each in found)]
                )
    return [("Sentences whose intents are right, and whole frames, in percent", columns)][
        : len(columns) - 1
    ]


def _sizes(report: Report) -> Table:
    """Return parameters and speeds."""
    headings = {
        "parameters": "parameters",
        "train_tokens_per_second": "training tokens/s",
        "predict_tokens_per_second": "prediction tokens/s",
    }
    values = [[config[key] for config in report["configs"]] for key in headings]
    shown = [
        ["" if value is None else f"{round(value):,}" for value in column] for column in values
    ]
    columns = [[heading, *cells] for heading, cells in zip(headings.values(), shown, strict=True)]
    return f"Size and speed on {next(iter(report['corpora']))}", [_names(report), *columns]


def _differences(report: Report) -> Table:
    """Return what each config has more or less than the first, its interval, and p."""
    columns = [_names(report)]
    for corpus, split, heading in _splits(report):
        cells = [heading]
        for config in report["configs"]:
            against = _on_split(config, corpus, split).get("against_first")
            cells.append("")
            if against:
                low, high = against["interval"]
                difference = f"{against['difference']:+.2f} ({low:+.2f}, {high:+.2f})"
                cells[-1] = f"{difference}, {against['p']:.4f}{_mark(against)}"
        columns.append(cells)
    return f"More or less F1 than {report['statistics']['first']}, its 95% interval, and p", columns


def legend(report: Report) -> list[str]:
    """Return what the tables mean, a sentence a line."""
    seeds, first = len(report["seeds"]), report["statistics"]["first"]
    failed = sum(bool(run["failed"]) for run in report["runs"])
    spread = f": mean ± deviation of a sample over {seeds} seeds" if seeds > 1 else " with one seed"
    lines = [f"F1 in percent over whole slots{spread}."]
    if len(report["configs"]) > 1:
        lines += [
            (
                f"Other than {first}: * p < {LEVEL}, ** also when corrected for the number of"
                " configs (Holm)."
            ),
            (
                "p: paired approximate paired_randomization_test; the interval: paired bootstrap; both over"
                " sentences."
            ),
        ]
    lines.append("Speeds: medians; runs side by side slow one another down.")
    if failed:
        lines.append(f"! {failed} of {len(report['runs'])} runs failed, and are in no figure.")
    return lines


def markdown(report: Report) -> str:
    """Return the tables as a Markdown page, with the machine, the date and the command."""
    environment = report["environment"]
    versions = ", ".join(
        f"{name} {version}" for name, version in environment.get("versions", {}).items()
    )
    machine = f"{environment.get('processors')} processors, {environment.get('platform')}; Python "
    return "\n\n".join(
        [
            "# Comparison",
            f"    {report['command']}",
            *map(_markdown_table, tables(report)),
            " ".join(legend(report)).replace("*", "\\*"),
            f"Machine: {machine}{environment.get('python')}, {versions}. {report['date'][:10]}.\n",
        ]
    )


def _markdown_table(table: Table) -> str:
    title, columns = table
    rows = [
        [cell.replace("|", "\\|").replace("*", "\\*") for cell in row]
        for row in zip(*columns, strict=True)
    ]
    rows.insert(1, ["---", *["---:"] * (len(columns) - 1)])
    return "\n".join([f"{title}:\n", *(f"| {' | '.join(row)} |" for row in rows)])


def _names(report: Report) -> list[str]:
    return ["config", *(config["name"] for config in report["configs"])]


def _splits(report: Report) -> list[tuple[str, str, str]]:
    """Return each column of F1: corpus, split, heading."""
    return [
        (corpus, split, f"{corpus} {split}")
        for corpus, about in report["corpora"].items()
        for split in about["splits"]
    ]


def _f1(corpus: Report | None, split: str) -> str:
    if corpus is None:
        return ""
    found = corpus["splits"][split]
    fault = "!" if corpus["failed"] else ""
    if found["mean"] is None:
        return "failed!"
    return f"{_figure(found)}{_mark(found.get('against_first'))}{fault}"


def _figure(found: Report) -> str:
    deviation = "" if found["deviation"] is None else f" ± {found['deviation']:.2f}"
    return f"{found['mean']:.2f}{deviation}"


def _on_split(config: Report, corpus: str, split: str) -> Report:
    """Return what a config came to on a split of a corpus; nothing where it was not trained on it."""
    found: Report = config["corpora"].get(corpus, {"splits": {}})["splits"].get(split, {})
    return found


def _mark(against: Report | None) -> str:
    if against is None or against["p"] >= LEVEL:
        return ""
    return "**" if against["p_corrected"] < LEVEL else "*"
