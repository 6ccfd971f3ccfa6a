"""Score several runs on one split, and the mean and deviation over them: an example of batch
evaluation.

    python scripts/evaluate_runs.py runs/*                          a table
    python scripts/evaluate_runs.py runs/atis-* --split valid
    python scripts/evaluate_runs.py runs/atis-* --data new.conll --json > scores.json

The deviation is that of a sample (divided by one less than the number of runs), and unknown for one
run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from slotfill.errors import SlotfillError
from slotfill.runs.evaluate import evaluate_run
from slotfill.runs.load import load_run

FIGURES = ("precision", "recall", "f1", "tag_accuracy", "sentence_accuracy")


def figures(run: Path, split: str | None, data: Path | None) -> dict[str, float]:
    """Return the scores of the run in the folder `run`, in percent. Raises SlotfillError as
    `evaluate` does.
    """
    score = evaluate_run(load_run(run), split=split, path=data)
    overall = score.overall
    values = (
        overall.precision,
        overall.recall,
        overall.f1,
        score.tag_accuracy,
        score.sentence_accuracy,
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


def table(scores: dict[str, dict[str, float]]) -> str:
    """Return a line a run and a last one with mean ± deviation, as a Markdown table."""
    whole = summary(scores)
    rows = [[name, *(f"{row[figure]:.2f}" for figure in FIGURES)] for name, row in scores.items()]
    last = [f"mean of {len(scores)}"]
    for figure in FIGURES:
        mean, deviation = whole["mean"][figure], whole["deviation"][figure]
        last.append(f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}")
    head = ["run", *(figure.replace("_", " ") for figure in FIGURES)]
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows, last]
    )


def main() -> int:
    """Score the runs; the exit code is that of the first fault, after which nothing is printed."""
    parser = argparse.ArgumentParser(
        description="Score several runs on one split, and their mean and deviation."
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run folders; those of runs not finished are left out"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--split", default=None, help="a split of each run's own data; the final one if not given"
    )
    where.add_argument("--data", type=Path, help="other labelled sentences")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    runs = [run for run in dict.fromkeys(arguments.runs) if run.suffix != ".partial"]
    try:
        if not runs:
            raise SlotfillError("no finished run among those given")
        scores = {str(run): figures(run, arguments.split, arguments.data) for run in runs}
    except SlotfillError as fault:
        print(f"evaluate_runs: {fault}", file=sys.stderr)
        return fault.exit_code
    print(
        json.dumps({"runs": scores, **summary(scores)}, indent=1, ensure_ascii=False)
        if arguments.json
        else table(scores)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
