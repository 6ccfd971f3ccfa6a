"""Evaluate several runs on one split, and print the mean and standard deviation over them.

    python scripts/evaluate_runs.py runs/*                          a table
    python scripts/evaluate_runs.py runs/atis-* --split valid
    python scripts/evaluate_runs.py runs/atis-* --data new.conll --json > scores.json

All runs are evaluated on the same split: test, or valid if a run has no test split. The standard
deviation is that of a sample, and undefined for one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from slotfill.data.splits import evaluation_split
from slotfill.errors import SlotfillError
from slotfill.runs.evaluate import evaluate_run
from slotfill.runs.load import Run, load_run

FIGURES = ("precision", "recall", "f1", "tag_accuracy", "sentence_accuracy")


def figures(run: Run, split: str, data: Path | None) -> dict[str, float]:
    """Return the scores of a run in percent; raises SlotfillError as `evaluate_run` does."""
    result = evaluate_run(run, split=None if data else split, path=data)
    overall = result.overall
    values = (
        overall.precision,
        overall.recall,
        overall.f1,
        result.tag_accuracy,
        result.sentence_accuracy,
    )
    return dict(zip(FIGURES, values, strict=True))


def summary(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return the mean and the deviation of each figure over the runs."""
    columns = {figure: [row[figure] for row in scores.values()] for figure in FIGURES}
    return {
        "mean": {figure: statistics.mean(values) for figure, values in columns.items()},
        "deviation": {
            figure: statistics.stdev(values) if len(values) > 1 else None
            for figure, values in columns.items()
        },
    }


def table(scores: dict[str, dict[str, float]], split: str) -> str:
    """Return a Markdown table: a row for each run, and one with mean ± deviation."""
    overall = summary(scores)
    rows = [[name, *(f"{row[figure]:.2f}" for figure in FIGURES)] for name, row in scores.items()]
    last = [f"mean of {len(scores)}"]
    for figure in FIGURES:
        mean, deviation = overall["mean"][figure], overall["deviation"][figure]
        last.append(f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}")
    head = [f"run on {split}", *(figure.replace("_", " ") for figure in FIGURES)]
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows, last]
    )


def main() -> int:
    """Evaluate the runs; on an error, print it alone and return its exit code."""
    parser = argparse.ArgumentParser(
        description="Evaluate several runs on one split, and print mean and standard deviation."
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run folders; unfinished runs are left out"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--split", help="a split of each run's data; default: test, or valid if a run has no test"
    )
    where.add_argument("--data", type=Path, help="other labelled sentences")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    paths = [path for path in dict.fromkeys(arguments.runs) if path.suffix != ".partial"]
    try:
        if not paths:
            raise SlotfillError("none of the runs is finished")
        runs = {str(path): load_run(path) for path in paths}
        split = str(arguments.data or arguments.split or common_split(list(runs.values())))
        scores = {name: figures(run, split, arguments.data) for name, run in runs.items()}
    except SlotfillError as error:
        print(f"evaluate_runs: {error}", file=sys.stderr)
        return error.exit_code
    print(
        json.dumps(
            {"split": split, "runs": scores, **summary(scores)}, indent=1, ensure_ascii=False
        )
        if arguments.json
        else table(scores, split)
    )
    return 0


def common_split(runs: list[Run]) -> str:
    """Return test if every run has it, else valid, which every run has."""
    has_test = all(evaluation_split(run.config.data) == "test" for run in runs)
    return "test" if has_test else "valid"


if __name__ == "__main__":
    sys.exit(main())
