"""Measure a GPU: training of atis and snips against two cores, and every cell against nn.LSTM.

    python benchmarks/gpu.py [--data ../shared/data] [--out benchmarks/gpu.json]
    python benchmarks/gpu.py --only cells                keep the trainings that are written
    python benchmarks/gpu.py --only page                 measure nothing; write docs/scale.md
    python benchmarks/gpu.py --device cpu --quick        tiny, to see that the script works

Ends within ten minutes, and writes what it has after each step: trainings first, then cells, and
the tables of docs/scale.md. Training on two cores takes two epochs, whose mean stands for all up to
the best one. Cells are timed forward and backward in both directions, with batches of 32 and 256
sentences of 20 tokens, 128 hidden; nn.LSTM is that of cuDNN on a GPU. Cells that cuDNN lacks run
with a compiled step, as in training.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from cells import TIME, parts, training_step
from fixtures import ROOT
from measured import BILSTM_CRF, record
from torch import Tensor, nn

import slotfill
from slotfill.config.registry import CELLS
from slotfill.model.recurrence import compile_steps, run_cell
from slotfill.runs.environment import environment
from slotfill.training.progress import EpochMetrics

PAGE = ROOT / "docs" / "scale.md"
TABLE = re.compile(r"(<!-- gpu: [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
TRAINING_LIMIT = 90
"""Seconds for the training of a config on the GPU."""
CORES = sorted(os.sched_getaffinity(0))[:2]
BATCHES = (32, 256)
HIDDEN = 128
REPEATS = 20
FASTEST = "times nn.LSTM"
RATIO = "of torch nn.LSTM"


class _Enough(Exception):
    """Raised after an epoch to end training."""


def train(config: str, device: str, overrides: dict[str, Any], limit: float) -> dict[str, Any]:
    """Return the speed and the best epoch of a training, ended after `limit` seconds."""
    epochs: list[EpochMetrics] = []
    began = time.perf_counter()

    def keep(epoch: EpochMetrics) -> None:
        epochs.append(epoch)
        if time.perf_counter() - began > limit:
            raise _Enough

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with TemporaryDirectory() as room:
        try:
            slotfill.train(config, overrides, out=Path(room, "run"), device=device, on_epoch=keep)
            ended = "trained to its end"
        except _Enough:
            ended = f"stopped after {limit:.0f} s"
    best = max(epochs, key=lambda epoch: epoch.valid_f1 or 0.0)
    result: dict[str, Any] = {
        "epochs": len(epochs),
        "ended": ended,
        "seconds_per_epoch": round(statistics.mean(epoch.seconds for epoch in epochs), 2),
        "tokens_per_second": round(statistics.median(each.tokens_per_second for each in epochs)),
        "best_epoch": best.epoch,
        "valid_f1": round(best.valid_f1 or 0.0, 2),
        "seconds_to_best": round(sum(epoch.seconds for epoch in epochs[: best.epoch]), 1),
    }
    if device == "cuda":
        result["peak_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return result


def train_on_two_cores(config: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the speed of two epochs on two of the processor's cores, in a process without GPU."""
    with (
        patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": ""}),
        ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, CORES)) as pool,
    ):
        arguments = (config, "cpu", overrides | {"train.epochs": 2}, TRAINING_LIMIT)
        found = pool.submit(train, *arguments).result()
    return {name: found[name] for name in ("seconds_per_epoch", "tokens_per_second")}


def time_layer(forward: Callable[[], Tensor], batch: int, device: str) -> dict[str, float]:
    """Return the speed of a forward and backward pass, and the memory that it takes on a GPU."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    step = training_step(forward)
    for _ in range(3):  # A step is compiled in the first, and its backward pass in the second.
        step()
    wait()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times)
    result = {
        "milliseconds": round(1000 * seconds, 3),
        "tokens_per_second": round(batch * TIME / seconds),
    }
    if device == "cuda":
        result["peak_mb"] = round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
    return result


def measure_cells(
    batches: Sequence[int], hidden: int, device: str, end: float, names: list[str] | None
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield the speed of nn.LSTM and of each cell with each batch size, while there is time."""
    torch.manual_seed(1)
    inputs = [
        torch.randn(2, TIME, batch, hidden, device=device).requires_grad_() for batch in batches
    ]
    lstm = nn.LSTM(hidden, hidden, bidirectional=True).to(device)
    fastest = {}
    for batch, x in zip(batches, inputs, strict=True):
        row = time_layer(lambda x=x: lstm(x[0])[0], batch, device)
        fastest[batch] = row["milliseconds"]
        yield "torch nn.LSTM", batch, row
    # Variants of a cell last, as there may be no time for them.
    for name, part in sorted(parts().items(), key=lambda item: (":" in item[0], item[0])):
        if (names and name not in names) or time.perf_counter() > end:
            continue
        cell = CELLS.build(part, hidden, hidden, 2).to(device)
        if device == "cuda":
            compile_steps(cell)
        for batch, x in zip(batches, inputs, strict=True):
            row = time_layer(lambda cell=cell, x=x: run_cell(cell, x)[0], batch, device)
            row[RATIO] = round(row["milliseconds"] / fastest[batch], 2)
            yield name, batch, row


def describe(figures: dict[str, Any]) -> str:
    """Return the tables of docs/scale.md."""
    device, about = figures["device"], figures["environment"]
    lines = [
        "| | seconds per epoch, on two cores | peak memory | best epoch after | on two cores |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for config, row in figures["training"].items():
        found, cores = row["cuda"], row["two cores"]
        cells = [
            f"{found['seconds_per_epoch']:.1f} and {cores['seconds_per_epoch']:.1f}",
            f"{found['peak_mb']} MB",
            f"{found['seconds_to_best']:.0f} s",
            f"{cores['seconds_to_best']:.0f} s",
        ]
        lines.append(f"| `{config}` | {' | '.join(cells)} |")
    lines += [
        "",
        f"One training each on one {device} and on two cores of its machine ({about['platform']},"
        f" torch {about['versions']['torch']}), {about['finished'][:10]}. Two cores trained two"
        " epochs, whose mean stands for all up to the best one.",
    ]
    if cells := figures["cells"]:
        batches = list(cells)
        header = [f"batch of {batch}, ms | {FASTEST}" for batch in batches]
        lines += ["", f"| cell | {' | '.join(header)} |", f"| --- |{' ---: |' * 2 * len(batches)}"]
        names = [name for name in cells[batches[0]] if ":" not in name]
        for name in sorted(names, key=lambda name: cells[batches[0]][name]["milliseconds"]):
            rows = [cells[batch][name] for batch in batches if name in cells[batch]]
            times = [f"{row['milliseconds']:.2f} | {row.get(RATIO, 1.0):.1f}" for row in rows]
            lines.append(f"| `{name}` | {' | '.join(times)} |")
        lines += [
            "",
            f"Forward and backward pass of {TIME} tokens in both directions, {HIDDEN} hidden,"
            f" median of {REPEATS}, on one {figures['cells device']['device']}.",
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, print, and write the figures as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--limit", type=int, default=500, help="seconds; then no cell is started")
    parser.add_argument("--only", choices=("trainings", "cells", "page"), help="what to do")
    parser.add_argument("--quick", action="store_true", help="taipei, and two tiny cells")
    args = parser.parse_args()
    if args.device == "cuda" and args.only != "page" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here; try --device cpu --quick")
    figures: dict[str, Any] = {"training": {}, "cells": {}}
    if args.only:
        figures |= json.loads(args.out.read_text(encoding="utf-8"))
    if args.only != "page":
        measure(args, figures)
    if args.device == "cuda" and not args.quick:
        text = PAGE.read_text("utf-8")
        text = TABLE.sub(lambda found: found[1] + describe(figures) + found[2], text)
        PAGE.write_text(text, encoding="utf-8")
        record(
            "benchmarks/gpu.json", "python benchmarks/gpu.py", *BILSTM_CRF, "slotfill/model/cells"
        )


def measure(args: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Train and time the cells, or one of these; write the figures as they come."""
    end = time.perf_counter() + args.limit
    device = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    about = {"device": device, "environment": environment() | {"command": None}}

    def save() -> None:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")

    if args.only != "cells":
        figures |= about | {"training": {}}
        train_configs(args, figures["training"], save)
    if args.only != "trainings":
        figures |= {"cells": {}, "cells device": about}
        hidden, names = (8, ["lstm", "mut1"]) if args.quick else (HIDDEN, None)
        batches = (4,) if args.quick else BATCHES
        for cell, batch, row in measure_cells(batches, hidden, args.device, end, names):
            figures["cells"].setdefault(str(batch), {})[cell] = row
            save()
            print(f"batch {batch}, {cell}: {json.dumps(row)}", flush=True)


def train_configs(
    args: argparse.Namespace, figures: dict[str, Any], save: Callable[[], None]
) -> None:
    """Train atis and snips on the device and on two cores."""
    if args.quick:
        trainings: dict[str, dict[str, Any]] = {"taipei": {"train.epochs": 1}}
    else:
        trainings = {name: {"data.path": str(args.data / name)} for name in ("atis", "snips")}
    for config, overrides in trainings.items():
        found = train(config, args.device, overrides, TRAINING_LIMIT)
        cores = train_on_two_cores(config, overrides)
        cores["seconds_to_best"] = round(cores["seconds_per_epoch"] * found["best_epoch"], 1)
        row = {args.device: found, "two cores": cores}
        figures[config] = row
        save()
        for where, about in row.items():
            print(f"{config} on {where}: {json.dumps(about)}", flush=True)


if __name__ == "__main__":
    main()
