"""Check the significance test of `compare` on runs whose true difference is known.

    python scripts/check_significance.py           train what is missing; about ten minutes
    python scripts/check_significance.py --only atis-small

Ten seeds of one config, divided in every way into two groups, are a null experiment: 5 % of the
pairs of groups should differ significantly. The same config with one more epoch really is better.
The table of docs/compare.md is written from both. The runs are short, so that no split is at its
ceiling, and they are kept in runs/significance.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np
from measured import BILSTM_CRF, record

from slotfill.evaluation.metrics import compute_f1
from slotfill.lab.compare.jobs import plan, read_result, run_jobs
from slotfill.lab.compare.significance import LEVEL, compare_f1, paired_randomization_test

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compare.md"
RUNS = ROOT / "runs" / "significance"
SEEDS = range(1, 11)
CONFIGS = {
    "taipei": (["embedding=[word]", "encoder.hidden_size=50"], 3),
    "atis-small": (["embedding=[word]"], 2),
}
"""By config: its overrides, and the number of epochs; with one more it is better."""
SIZES = (2, 3, 5)
"""Seeds in each group."""
SAMPLES = 300
"""Pairs of groups that are drawn for the test over sentences alone, which is slow."""

Groups = tuple[Sequence[int], Sequence[int]]


def train(config: str, overrides: Sequence[str], name: str) -> dict[str, np.ndarray]:
    """Train all seeds that are missing; return the counts of each split, `(seed, sentence, 3)`."""
    jobs = plan([config], RUNS / name, overrides=overrides, seeds=SEEDS)
    if errors := run_jobs(jobs, lambda job, message: print(f"{job.title}: {message}")):
        sys.exit(str(errors))
    results = [read_result(job) for job in jobs.jobs]
    counts = [result["counts"] for result in results if result]
    return {split: np.array([each[split] for each in counts]) for split in counts[0]}


def divide(size: int) -> list[Groups]:
    """Return every pair of disjoint groups of seeds, as indices."""
    return [
        (one, other)
        for one in combinations(range(len(SEEDS)), size)
        for other in combinations(sorted(set(range(len(SEEDS))) - set(one)), size)
        if one < other
    ]


def draw(size: int, pairs: int) -> Iterator[Groups]:
    """Yield random groups of seeds of two different configs."""
    random_ = random.Random(0)
    for _ in range(pairs):
        one, other = (random_.sample(range(len(SEEDS)), size) for _ in range(2))
        yield one, other


def share(ps: list[float]) -> str:
    """Return the share of significant p-values, in words."""
    return f"{100 * np.mean(np.array(ps) < LEVEL):.1f} %"


def rows(config: str) -> Iterator[list[str]]:
    """Yield the rows of one config: for each split, and each number of seeds."""
    overrides, epochs = CONFIGS[config]
    null = train(config, [*overrides, f"train.epochs={epochs}"], "null")
    better = train(config, [*overrides, f"train.epochs={epochs + 1}"], "better")
    for split, counts in null.items():
        other = better[split]
        f1s = [compute_f1(each.sum(axis=1)) for each in (counts, other)]
        for size in SIZES:
            groups = divide(size)
            sampled = random.Random(0).sample(groups, min(SAMPLES, len(groups)))
            pairs = [(counts[list(a)], counts[list(b)]) for a, b in groups]
            alone = [(counts[list(a)], counts[list(b)]) for a, b in sampled]
            real = [(counts[a], other[b]) for a, b in draw(size, 1000)]
            yield [
                f"{config} {split}",
                *(f"{each.mean():.2f} ± {np.std(each, ddof=1):.2f}" for each in f1s),
                f"{size} and {size}",
                f"{share([compare_f1(a, b).p for a, b in pairs])} of {len(pairs):,}",
                f"{share([paired_randomization_test(a, b, draws=1000) for a, b in alone])}",
                share([compare_f1(a, b).p for a, b in real]),
            ]


def main() -> None:
    """Train, test, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CONFIGS, action="append")
    configs = parser.parse_args().only or ["taipei"]
    head = [
        "split",
        "F1 of ten seeds",
        "F1 with one more epoch",
        "seeds",
        "equal: significant",
        "equal: by sentences alone",
        "better: significant",
    ]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    lines += [row for config in configs for row in rows(config)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    machine = f"{os.cpu_count()} processors, {platform.platform()}"
    text = PAGE.read_text(encoding="utf-8")
    start, end = "<!-- null: scripts/check_significance.py -->\n", "<!-- end -->"
    before, found, rest = text.partition(start)
    assert found and end in rest, PAGE
    after = rest.partition(end)[2]
    trained = "; ".join(
        f"`{config} {' '.join(overrides)} train.epochs={epochs}`"
        for config, (overrides, epochs) in CONFIGS.items()
        if config in configs
    )
    footer = f"{trained}; seeds 1 to 10; {machine}; {date.today()}."
    folders = [path.parent for path in RUNS.rglob("environment.json")]
    depends = ("slotfill/lab/compare/significance.py", "scripts/check_significance.py", *BILSTM_CRF)
    record("docs/compare.md", "python scripts/check_significance.py", *depends, runs=folders)
    PAGE.write_text(f"{before}{start}{table}\n\n{footer}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
