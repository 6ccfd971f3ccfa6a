"""Simulate labelling in random and in active order, continue runs, and write docs/labelling.md.

    python scripts/make_labelling.py                        both corpora, seeds 1 and 2
    python scripts/make_labelling.py --only snips --seeds 1
    python scripts/make_labelling.py --page                 the page alone, from the results

Labelling starts with 30 sentences drawn at random from the training sentences, whose labels are
known here. At 60, 100, 150, 210 and 300 a run is trained from scratch on all of them with default
settings, which ranks the other sentences, and F1 is measured on the complete test set. Results are
kept in runs/labelling and not measured again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from make_defaults import SHARED, tag_tokens
from make_results import ROOT

import slotfill
from slotfill.config.models import DataConfig
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split
from slotfill.lab.labelling.ranking import Ranking
from slotfill.lab.labelling.session import measure_confidence
from slotfill.runs.folder import environment
from slotfill.runs.predict import Predictor

ROOM = ROOT / "build" / "labelling"
RUNS = ROOT / "runs" / "labelling"
PAGE = ROOT / "docs" / "labelling.md"
TEXT = Path(__file__).with_name("labelling.md")
NAMES = ("snips", "mit_restaurant")
ORDERS = ("random", "active")
SEEDS = (1, 2)
SIZES = (30, 60, 100, 150, 210, 300)
"""Sentences labelled when a run is trained."""
RANKED = 2000
"""Of the sentences that are left, so many are ranked, as in `slotfill label`."""


def read(corpus: str, split: str) -> list[Sentence]:
    """Return the sentences of a corpus, tokenized as its files are."""
    data = DataConfig(path=str(SHARED / corpus), tokenizer="whitespace")
    return read_split(data, split).sentences


def write(path: Path, sentences: Sequence[Sentence]) -> Path:
    """Write sentences with their tokens and tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(tag_tokens(sentence), ensure_ascii=False) + "\n" for sentence in sentences)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def simulate(corpus: str, seed: int) -> None:
    """Label one corpus in each order, and write F1 by the number of sentences."""
    out = RUNS / f"{corpus}-seed{seed}.json"
    if out.exists():
        return
    start = time.process_time()
    pool = read(corpus, "train")
    test = write(ROOM / corpus / "test.jsonl", read(corpus, "test"))
    folder = ROOM / corpus / f"seed{seed}"
    scores: dict[str, dict[int, float]] = {order: {} for order in ORDERS}

    def train(labelled: list[int]) -> Predictor:
        sentences = write(folder / "train.jsonl", [pool[index] for index in labelled])
        data = {"train": str(sentences), "test": str(test), "holdout": 0}
        data |= {"tokenizer": "whitespace"}
        settings: dict[str, Any] = {"data": data, "train": {"seed": seed}}
        return slotfill.train(settings, out=folder / "run", force=True)

    first: Predictor | None = None
    for order in ORDERS:
        draw = random.Random(seed)
        left = draw.sample(range(len(pool)), len(pool))
        labelled: list[int] = []
        tagger: Predictor | None = None
        for size in SIZES:
            number = size - len(labelled)
            chosen = left[:number]
            if order == "active" and tagger is not None:
                chosen = choose(tagger, pool, left[:RANKED], labelled, number)
            labelled += chosen
            left = [index for index in left if index not in set(chosen)]
            draw.shuffle(left)
            if size > SIZES[0] or first is None:
                tagger = train(labelled)
                first = first or tagger
            else:
                tagger = first
            scores[order][size] = tagger.scores["test"].overall.f1
            print(f"{corpus} {order} {seed}, {size}: {scores[order][size]:.2f}", flush=True)
    shutil.rmtree(folder)
    seconds = time.process_time() - start
    result = {"scores": scores, "seconds": seconds, "environment": environment()}
    RUNS.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1), encoding="utf-8")


def choose(
    tagger: Predictor, pool: list[Sentence], ranked: list[int], labelled: list[int], number: int
) -> list[int]:
    """Return the sentences of `ranked` that are labelled next, as `slotfill label` shows them."""
    ranking = Ranking([pool[i].tokens for i in ranked], [pool[i].tokens for i in labelled])
    found = tagger.tag([pool[index].text for index in ranked])
    ranking.set_confidences([measure_confidence(each) for each in found])
    chosen = []
    for _ in range(number):
        position = ranking.next()
        assert position is not None
        ranking.take(position)
        chosen.append(ranked[position])
    return chosen


def main() -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=NAMES, help="this corpus alone")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="so many seeds")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    args = parser.parse_args()
    for seed in () if args.page else SEEDS[: args.seeds]:
        for corpus in args.only or NAMES:
            simulate(corpus, seed)


if __name__ == "__main__":
    main()
