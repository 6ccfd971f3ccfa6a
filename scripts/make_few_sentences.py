"""Train on few sentences without and with static word vectors; write docs/few_sentences.md.

    python scripts/make_few_sentences.py                      every set, seeds 1 to 3
    python scripts/make_few_sentences.py --only atis-100 --seeds 1
    python scripts/make_few_sentences.py --page               the page alone, from the runs

The sentences are those of scripts/make_defaults.py. Runs are kept in runs/few_sentences and not
trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from make_defaults import ROOM, SETS, write
from make_results import CORPORA, ROOT, machine, slotfill, spread, table

RUNS = ROOT / "runs" / "few_sentences"
PAGE = ROOT / "docs" / "few_sentences.md"
TEXT = Path(__file__).with_name("few_sentences.md")
WAYS = {"": "word, char_cnn, ngrams", "+static": "word, char_cnn, ngrams, static"}
SEEDS = (1, 2, 3)
NAMES = [f"{corpus}-{number}" for number in (100, 1000) for corpus in CORPORA]


def train(name: str, way: str, seed: int) -> None:
    """Train one set in one way with one seed, unless that has been done."""
    out = RUNS / f"{name}{way}-seed{seed}"
    if not out.exists():
        print(f"training {out.name}", flush=True)
        change = f"embedding=[{WAYS[way]}]"
        slotfill("train", ROOM / name / "config.yaml", change, "--seed", seed, "--out", out)


def _read(name: str, file: str = "scores.json") -> dict[str, dict[int, Any]]:
    """Return a file of the runs of a set, by way and seed."""
    return {
        way: {
            seed: json.loads(path.read_text(encoding="utf-8"))
            for seed in SEEDS
            if (path := RUNS / f"{name}{way}-seed{seed}" / file).exists()
        }
        for way in WAYS
    }


def rows() -> list[list[str]]:
    """Return the rows of the table: F1 of both ways, and the differences of equal seeds."""
    found = []
    for name in NAMES:
        f1 = {
            way: {seed: 1.0 * run["splits"]["test"]["overall"]["f1"] for seed, run in runs.items()}
            for way, runs in _read(name).items()
        }
        seeds = sorted(f1[""].keys() & f1["+static"].keys())
        if not seeds:
            continue
        plain, static = ([f1[way][seed] for seed in seeds] for way in WAYS)
        gains = [after - before for before, after in zip(plain, static, strict=True)]
        about = SETS[name].about
        each = ", ".join(f"{gain:+.1f}" for gain in gains)
        gain = f"{statistics.mean(gains):+.2f}"
        found.append([about, str(len(seeds)), spread(plain), spread(static), gain, each])
    return found


def page() -> str:
    """Return docs/few_sentences.md: the text of scripts/few_sentences.md with the figures."""
    head = ["", "seeds", "test F1 without", "with `static`", "gain", "of each seed"]
    runs = [run for name in NAMES for run in _read(name, "environment.json")["+static"].values()]
    about = f"{machine(runs[0])}, {max(run['finished'] for run in runs)[:10]}."
    text = TEXT.read_text(encoding="utf-8")
    return text.replace("FIGURES", f"{table(head, rows())}\n\n{about}")


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=NAMES, help="train this alone; may be repeated"
    )
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="train so many seeds")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    for name in () if args.page else args.only or NAMES:
        write(name)
        for seed in SEEDS[: args.seeds]:
            for way in WAYS:
                train(name, way, seed)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
