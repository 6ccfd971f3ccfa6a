"""Measure what is lost if half of ATIS's training slots have no label, marked as unknown or not.

    python benchmarks/partial_labels.py            train what is missing
    python benchmarks/partial_labels.py --table    only from the trainings that are there

The settings are those of benchmarks/imbalance.py. Each seed draws the slots that are removed, from
the training sentences only. Writes benchmarks/partial_labels.json, and its table into
docs/partial_labels.md.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path

from fixtures import ROOM, ROOT, log
from imbalance import SEEDS, collect, frequency_order, read_corpus, table, train, write_table
from measured import BILSTM_CRF, record

from slotfill.data.sentence import Sentence

TARGET = Path(__file__).with_name("partial_labels.json")
PAGE = ROOT / "docs" / "partial_labels.md"
CACHE = ROOM / "partial_labels"
EPOCHS = 10
SHARE = 0.5
"""The probability with which the label of a slot is removed."""

ALL, MARKED, AS_O = "all", "marked", "as O"
LABELS = {
    ALL: "all slots",
    MARKED: "half of the slots, the others marked as unknown",
    AS_O: "half of the slots, the others tagged O",
}


def remove_labels(sentences: Iterable[Sentence], seed: int, *, mark: bool) -> list[Sentence]:
    """Return the sentences without a random half of their slots, whose tokens `mark` marks."""
    draw = random.Random(seed)
    result = []
    for sentence in sentences:
        kept, removed = [], []
        for slot in sentence.slots or ():
            (removed if draw.random() < SHARE else kept).append(slot)
        unknown = [(slot.start, slot.end) for slot in removed] if mark else []
        result.append(replace(sentence, slots=kept, unknown=unknown))
    return result


def cache_file(labels: str, seed: int) -> Path:
    """Return the file of a training's counts."""
    return CACHE / f"{labels.replace(' ', '-')}-{seed}.json"


def main() -> None:
    """Train what is missing, write the results and the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="train nothing")
    only_table = parser.parse_args().table
    corpus = read_corpus("atis")
    for seed, labels in product(SEEDS, () if only_table else LABELS):
        file = cache_file(labels, seed)
        if not file.is_file():
            log(f"seed {seed}: {labels}")
            sentences = dict(corpus)
            if labels != ALL:
                sentences["train"] = remove_labels(corpus["train"], seed, mark=labels == MARKED)
            train("atis", sentences, [f"train.seed={seed}", f"train.epochs={EPOCHS}"], file)
    files = {labels: [cache_file(labels, seed) for seed in SEEDS] for labels in LABELS}
    results = collect(frequency_order(corpus), files)
    TARGET.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_table(PAGE, "atis", table("training labels", LABELS, results, ALL))
    if not only_table:
        record("docs/partial_labels.md", "python benchmarks/partial_labels.py", *BILSTM_CRF)


if __name__ == "__main__":
    main()
