"""Time a training epoch of a recipe, validation included, with one thread and with two in turn.

    python benchmarks/epoch.py [RECIPE] [--repeats 5]

Writes benchmarks/epoch.json: medians, with the machine and the date. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch

from slotfill.recipes import load_recipe
from slotfill.run_folder import RunFolder, environment
from slotfill.train import Progress, train

TARGET = Path(__file__).with_suffix(".json")


def seconds(recipe: str, threads: int, epochs: int) -> list[float]:
    """Return the seconds of each epoch but the first, which warms up."""
    _, config = load_recipe(
        recipe, [f"train.epochs={epochs}", "train.patience=0", f"train.threads={threads}"], need_data=True
    )
    last: list[Progress] = []
    with tempfile.TemporaryDirectory() as room:
        train(config, RunFolder(Path(room, "run")), lambda progress: last.__setitem__(slice(None), [progress]))
    assert torch.get_num_threads() == threads
    return [epoch.seconds for epoch in last[0].history[1:]]


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="atis")
    parser.add_argument("--repeats", type=int, default=5, help="times that each number of threads has its turn")
    given = parser.parse_args()
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(given.repeats):
        for threads, found in times.items():
            found += seconds(given.recipe, threads, epochs=3)
    figures = {
        {1: "one thread", 2: "two threads"}[threads]: {
            "median": round(statistics.median(found), 3),
            "least": round(min(found), 3),
            "most": round(max(found), 3),
            "epochs": len(found),
        }
        for threads, found in times.items()
    }
    result = {"recipe": given.recipe, "seconds an epoch": figures, "environment": environment() | {"command": None}}
    TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["seconds an epoch"], indent=1))


if __name__ == "__main__":
    main()
