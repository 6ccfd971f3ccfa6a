"""Check the significance test of `compare` on runs whose true difference is known.

    python scripts/check_significance.py           train what is missing; about ten minutes
    python scripts/check_significance.py --only atis-small

Ten seeds of one config, divided in every way into two groups, are a null experiment: 5 % of the
pairs of groups should differ significantly. The same config with one more epoch really is better.
The runs are short, so that no split is at its ceiling, and they are kept in runs/significance. As
ten seeds are few, configs are simulated too, also with other numbers of seeds, which differ more in
one of them. The tables of docs/compare.md are written from both.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from make_results import table
from measured import BILSTM_CRF, record

from slotfill.evaluation.metrics import compute_f1
from slotfill.lab.compare.job import read_result
from slotfill.lab.compare.plan import plan
from slotfill.lab.compare.runner import run_jobs
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
SIMULATED_SIZES = ((2, 2), (3, 3), (5, 5), (4, 5), (3, 5), (2, 5), (3, 10), (2, 10))
"""Seeds of each config in simulated experiments, first of that whose seeds differ more."""
EXPERIMENTS = 1000
"""Simulated experiments of each kind."""
SAMPLES = 100
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


def share(ps: Sequence[float] | np.ndarray) -> str:
    """Return the share of significant p-values, in words."""
    return f"{100 * np.mean(np.array(ps) < LEVEL):.1f} %"


def rows(config: str) -> Iterator[list[str]]:
    """Yield the rows of one config: for each split, and each number of seeds."""
    overrides, epochs = CONFIGS[config]
    trained = train(config, [*overrides, f"train.epochs={epochs}"], "null")
    better = train(config, [*overrides, f"train.epochs={epochs + 1}"], "better")
    for split in trained:
        both = trained[split], better[split]
        f1s = [compute_f1(counts.sum(axis=1)) for counts in both]
        for size in SIZES:
            groups = divide(size)
            equal = [
                share([compare_f1(counts[list(a)], counts[list(b)]).p for a, b in groups])
                for counts in both
            ]
            alone = [
                paired_randomization_test(both[0][list(a)], both[0][list(b)], draws=1000)
                for a, b in random.Random(0).sample(groups, min(SAMPLES, len(groups)))
            ]
            power = [compare_f1(both[0][a], both[1][b]).p for a, b in draw(size, 1000)]
            yield [
                f"{config} {split}",
                *(f"{each.mean():.2f} ± {np.std(each, ddof=1):.2f}" for each in f1s),
                f"{size} and {size}",
                *equal,
                share(alone),
                share(power),
            ]


def summarize(rows: Sequence[Sequence[str]]) -> str:
    """Return the mean share of significant differences between equal groups, in a sentence."""
    shares: dict[str, list[float]] = {}
    for _, _, _, size, *equal, _, _ in rows:
        shares.setdefault(size, []).extend(float(cell.removesuffix(" %")) for cell in equal)
    means = [f"{statistics.mean(values):.1f} % with {size}" for size, values in shares.items()]
    return f"On average, equal groups differ in {', '.join(means)}."


def simulate(
    random: np.random.Generator,
    base: np.ndarray,
    seeds: int,
    *,
    better: float = 0.0,
    spread: float = 0.04,
    own: float = 0.0,
) -> np.ndarray:
    """Return counts of a config on sentences with one slot, whose difficulty in logits is `base`.

    Args:
        better: How much better the config is, in logits.
        spread: The deviation of the share by which a seed is better or worse; the mean is the
            same for each.
        own: The deviation of how good the config is on a sentence, whatever the seed, in logits.
    """
    logits = base + better + random.normal(0, own, len(base))
    logits = logits + random.normal(0, 1, (seeds, len(base)))
    of_seeds = 0.8 + np.clip(random.normal(0, spread, (seeds, 1)), -0.2, 0.2)
    right = random.random(logits.shape) < of_seeds / (1 + np.exp(-logits))
    missed = ~right & (random.random(logits.shape) < 0.5)
    return np.stack([right, ~missed, np.ones_like(right)], axis=2).astype(np.int64)


def simulate_failures(
    random: np.random.Generator, sentences: int, seeds: int, *, share: float, slots: int
) -> np.ndarray:
    """Return counts of a config that fails in `slots` of 4 slots in a share of the sentences."""
    right = np.where(random.random(sentences) < share, 4 - slots, 4)
    right = random.binomial(np.tile(right, (seeds, 1)), 0.98)
    return np.stack([right, np.full_like(right, 4), np.full_like(right, 4)], axis=2)


def simulate_experiments(
    experiments: int,
    seeds: int,
    others: int | None = None,
    *,
    sentences: int = 150,
    better: float = 0.0,
    spread: float = 0.04,
    other_spread: float | None = None,
    own: float = 0.0,
    failures: bool = False,
) -> np.ndarray:
    """Return p of simulated experiments with two configs.

    Args:
        experiments: Their number.
        seeds: Seeds of the first config.
        others: Seeds of the other one, if not as many.
        sentences: Test sentences.
        better: How much better the first config is, as in `simulate`.
        spread: As in `simulate`.
        other_spread: The `spread` of the other config, if it is another one.
        own: As in `simulate`.
        failures: The first config fails in all slots of 5 % of the sentences, the other one in one
            of four slots in 20 %.
    """
    random = np.random.default_rng(5)
    others_spread = spread if other_spread is None else other_spread
    ps = []
    for _ in range(experiments):
        base = random.normal(3, 2, sentences)
        if failures:
            one = simulate_failures(random, sentences, seeds, share=0.05, slots=4)
            other = simulate_failures(random, sentences, others or seeds, share=0.2, slots=1)
        else:
            one = simulate(random, base, seeds, better=better, spread=spread, own=own)
            other = simulate(random, base, others or seeds, spread=others_spread, own=own)
        ps.append(compare_f1(one, other).p)
    return np.array(ps)


SIMULATED: dict[str, dict[str, Any]] = {
    "seeds differ a little": {},
    "seeds differ much": {"spread": 0.1},
    "seeds do not differ": {"spread": 0.0},
    "seeds of one differ much, of the other little": {"spread": 0.1, "other_spread": 0.002},
    "seeds of one differ, of the other not": {"spread": 0.04, "other_spread": 0.0},
    "configs are good at different sentences": {"own": 1.5},
    "20 sentences": {"sentences": 20},
    **{
        f"one fails in 5 % of {sentences} sentences": {"failures": True, "sentences": sentences}
        for sentences in (20, 50, 100, 200)
    },
}


def simulated_rows() -> Iterator[list[str]]:
    """Yield a row for each kind of simulated experiment; seeds of the first config differ more."""
    for name, options in SIMULATED.items():
        ps = (simulate_experiments(EXPERIMENTS, *each, **options) for each in SIMULATED_SIZES)
        yield [name, *map(share, ps)]


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
        "equal",
        "equal, one more epoch",
        "equal, by sentences alone",
        "one more epoch",
    ]
    measured_rows = [row for config in configs for row in rows(config)]
    trained = table(head, measured_rows)
    head = ["simulated", *(f"{one} and {other}" for one, other in SIMULATED_SIZES)]
    simulated = table(head, list(simulated_rows()))
    machine = f"{os.cpu_count()} processors, {platform.platform()}"
    text = PAGE.read_text(encoding="utf-8")
    start, end = "<!-- null: scripts/check_significance.py -->\n", "<!-- end -->"
    before, found, rest = text.partition(start)
    assert found and end in rest, PAGE
    after = rest.partition(end)[2]
    used = "; ".join(
        f"`{config} {' '.join(overrides)} train.epochs={epochs}`"
        for config, (overrides, epochs) in CONFIGS.items()
        if config in configs
    )
    footer = f"{summarize(measured_rows)} {used}; seeds 1 to 10; {machine}; {date.today()}."
    folders = [path.parent for path in RUNS.rglob("environment.json")]
    analysis = ("slotfill/lab/compare/significance.py", "scripts/check_significance.py")
    command = "python scripts/check_significance.py"
    record("docs/compare.md", command, *BILSTM_CRF, runs=folders, analysis=analysis)
    PAGE.write_text(
        f"{before}{start}{trained}\n\n{footer}\n\n{simulated}\n{end}{after}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
