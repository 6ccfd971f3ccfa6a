"""Time a training epoch of a recipe, validation included, by one process and by two in turn.

    python benchmarks/epoch.py [RECIPE] [KEY=VALUE ...] [--repeats 5]

Writes benchmarks/epoch.json: medians, with the machine and the date, and which share of the machine's peak the epoch's
arithmetic is. What is counted: two for each number that a product of matrices multiplies and adds, in the forward and
the backward pass of training, padding included; validation, sums, gates and updates count for nothing. The peak is
that of products of 512 by 512 numbers in float32, measured beside, times the processes. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from slotfill.config import Config
from slotfill.recipes import load_recipe
from slotfill.run import build_model
from slotfill.run_folder import RunFolder, environment
from slotfill.splits import read_split
from slotfill.train import Progress, Training, train
from slotfill.vocab import Vocab

TARGET = Path(__file__).with_suffix(".json")
COUNTS = {1: "one process", 2: "two processes"}


def config_of(recipe: str, overrides: list[str], **keys: int) -> Config:
    """Return the config of a recipe that trains without patience."""
    words = [f"train.{key}={value}" for key, value in keys.items()]
    return load_recipe(recipe, [*overrides, "train.patience=0", *words], need_data=True)[1]


def seconds(config: Config) -> list[float]:
    """Return the seconds of each epoch but the first, which warms up."""
    last: list[Progress] = []
    with tempfile.TemporaryDirectory() as room:
        train(config, RunFolder(Path(room, "run")), lambda progress: last.__setitem__(slice(None), [progress]))
    return [epoch.seconds for epoch in last[0].history[1:]]


def operations(config: Config) -> int:
    """Return how many numbers the products of an epoch multiply and add, two for each."""
    sentences = read_split(config.data, "train").sentences
    vocab = Vocab.of(sentences, config.scheme)
    training = Training(config.train, build_model(config, vocab), sentences, [], vocab)

    def in_place(_: Any, a: tuple[int, ...], b: tuple[int, ...], **__: Any) -> int:
        return 2 * a[0] * a[1] * a[2] * b[2]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: in_place}) as counter:
        for share in training.batches(1):
            training.step(share)
    return int(counter.get_total_flops())


def peak() -> float:
    """Return how many operations a second one processor comes to in products of matrices."""
    a, b = torch.rand(2, 512, 512)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - began)
    return 2 * 512**3 / statistics.median(times)


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="atis")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=5, help="times that each number of processes has its turn")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    work = operations(config_of(given.recipe, given.overrides, threads=1))
    times: dict[int, list[float]] = {count: [] for count in COUNTS}
    peaks = []
    for _ in range(given.repeats):
        peaks.append(peak())
        for count, found in times.items():
            found += seconds(config_of(given.recipe, given.overrides, threads=count, epochs=3))
    fastest = statistics.median(peaks)
    figures: dict[str, dict[str, Any]] = {}
    for count, found in times.items():
        median = statistics.median(found)
        figures[COUNTS[count]] = {
            "median": round(median, 3),
            "least": round(min(found), 3),
            "most": round(max(found), 3),
            "epochs": len(found),
            "share of the peak": round(work / median / (count * fastest), 3),
        }
    result = {
        "recipe": given.recipe, "overrides": given.overrides, "seconds an epoch": figures,
        "operations an epoch": work, "peak of a processor": round(fastest),
        "environment": environment() | {"command": None},
    }  # fmt: skip
    TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["seconds an epoch"], indent=1))


if __name__ == "__main__":
    main()
