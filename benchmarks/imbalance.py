"""Measure what each remedy for class imbalance does to rare and to frequent slots.

    python benchmarks/imbalance.py            train what is missing
    python benchmarks/imbalance.py --table    only from the trainings that are there

The small configs of two corpora, with few epochs, one process, and the best epoch on valid; scores
are those of test. Trainings are kept in build/benchmarks/imbalance and not repeated. Writes
benchmarks/imbalance.json, and its tables into docs/imbalance.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from fixtures import ROOM, ROOT, log
from measured import BILSTM_CRF, record

from slotfill.config.builtin import load_config
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split
from slotfill.evaluation.metrics import compute_f1
from slotfill.inference.tagging import predict
from slotfill.runs.train import Corpus, build_trainer

TARGET = Path(__file__).with_name("imbalance.json")
CACHE = ROOM / "imbalance"
PAGE = ROOT / "docs" / "imbalance.md"
SEEDS = (1, 2, 3)
SHORTENED = {
    "atis": ["train.epochs=15"],
    "mit_restaurant": ["train.epochs=5", "train.language_model_weight=0"],
}
"""The corpora, and what makes the training of their small configs shorter."""
BASELINE, LONGER = "none", "more epochs"
REMEDIES: dict[str, dict[str, float]] = {
    BASELINE: {},
    "slot_weights": {"atis": 3, "mit_restaurant": 3},
    "class_balance": {"atis": 0.5, "mit_restaurant": 0.5},
    "focal_gamma": {"atis": 1, "mit_restaurant": 1},
    "repeat_threshold": {"atis": 0.05, "mit_restaurant": 0.3},
    LONGER: {"atis": 22, "mit_restaurant": 6},
}
"""The key of each remedy and its value for each corpus; slot weights are for the rarest third.

More epochs without any remedy are as many steps as with `repeat_threshold`."""

Counts = dict[str, list[int]]
"""True positives, predicted and gold slots of each name."""


def read_corpus(corpus: str) -> dict[str, list[Sentence]]:
    """Return the sentences of each split."""
    config = load_config(f"{corpus}-small")[1]
    return {split: read_split(config.data, split).sentences for split in ("train", "valid", "test")}


def train(corpus: str, sentences: Corpus, overrides: Iterable[str], file: Path) -> None:
    """Train the small config of `corpus` and write to `file` the counts on test, and the time."""
    always = [*SHORTENED[corpus], "train.patience=0", "train.processes=1"]
    config = load_config(f"{corpus}-small", [*always, *overrides])[1]
    trainer = build_trainer(config, sentences)
    history = list(trainer.train())
    model = trainer.best_model()
    predicted = predict(model, trainer.vocab, sentences["test"]).slots
    counts: list[Counter[str]] = [Counter(), Counter(), Counter()]
    for sentence, slots in zip(sentences["test"], predicted, strict=True):
        gold = set(sentence.slots or ())
        for counter, own in zip(counts, (gold & set(slots), slots, gold), strict=True):
            counter.update(slot.name for slot in own)
    result = {
        "counts": {
            name: [counter[name] for counter in counts] for name in sorted(counts[1] | counts[2])
        },
        "steps": trainer.steps_done,
        "seconds": sum(epoch.seconds for epoch in history),
        "date": date.today().isoformat(),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result), encoding="utf-8")


def frequency_order(corpus: Corpus) -> list[str]:
    """Return the names of the slots of test that training has, the rarest in training first."""
    in_train, in_test = (
        Counter(slot.name for sentence in corpus[split] for slot in sentence.slots or ())
        for split in ("train", "test")
    )
    return sorted(in_test & in_train, key=lambda name: (in_train[name], name))


def f1(counts: Counts, names: Sequence[str]) -> float:
    """Return the micro-averaged F1 of the slots `names`."""
    return float(compute_f1(np.sum([counts.get(name, [0, 0, 0]) for name in names], axis=0)))


def scores(counts: Counts, order: Sequence[str]) -> dict[str, float]:
    """Return micro and macro F1, and the F1 of the rarest and of the most frequent third."""
    third = len(order) // 3
    return {
        "micro F1": f1(counts, list(counts)),
        "macro F1": fmean(f1(counts, [name]) for name in counts if counts[name][2]),
        "rarest third": f1(counts, order[:third]),
        "most frequent third": f1(counts, order[-third:]),
    }


def describe(order: Sequence[str], corpus: Corpus) -> str:
    """Return a sentence on how many gold slots of test there are, and in the rarest third."""
    gold = [slot.name for sentence in corpus["test"] for slot in sentence.slots or ()]
    rare = sum(name in order[: len(order) // 3] for name in gold)
    return (
        f"{len(order)} slot names of training are in test; the rarest {len(order) // 3} of them"
        f" have {rare:,} of its {len(gold):,} slots."
    )


def cache_file(corpus: str, remedy: str, seed: int) -> Path:
    """Return the file of a training's counts."""
    return CACHE / f"{corpus}-{remedy}-{seed}.json"


def settings(corpus: str, remedy: str, order: Sequence[str]) -> str:
    """Return the setting of a training; empty without a remedy."""
    if remedy == BASELINE:
        return ""
    key = "epochs" if remedy == LONGER else remedy
    value: Any = REMEDIES[remedy][corpus]
    if remedy == "slot_weights":
        value = json.dumps(dict.fromkeys(order[: len(order) // 3], value))
    return f"train.{key}={value}"


def collect(order: Sequence[str], files: dict[str, list[Path]]) -> dict[str, Any]:
    """Return the scores, steps and date of each group of trainings that are there."""
    results = {}
    for name, paths in files.items():
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
        if runs:
            by_seed = [scores(run["counts"], order) for run in runs]
            results[name] = {
                "scores": {key: [round(one[key], 2) for one in by_seed] for key in by_seed[0]},
                "steps": round(fmean(run["steps"] for run in runs)),
                "date": max(run["date"] for run in runs),
            }
    return results


def table(first: str, labels: dict[str, str], results: dict[str, Any], reference: str) -> str:
    """Return a Markdown table of means, and of differences from the `reference` with their range.

    The columns are those of `scores` and the steps; `first` heads the names that `labels` describe.
    """
    base = results[reference]["scores"]
    lines = [f"| {' | '.join([first, *base, 'steps'])} |", "| --- |" + " ---: |" * (len(base) + 1)]
    for name, result in results.items():
        cells = [labels[name]]
        for key, values in result["scores"].items():
            cell = f"{fmean(values):.2f}"
            if name != reference:
                gains = [one - other for one, other in zip(values, base[key], strict=False)]
                cell += f" ({fmean(gains):+.2f}; {min(gains):+.2f} to {max(gains):+.2f})"
            cells.append(cell)
        lines.append(f"| {' | '.join([*cells, format(result['steps'], ',')])} |")
    lines += [
        "",
        f"Trained on {max(result['date'] for result in results.values())}, on shared cores.",
    ]
    return "\n".join(lines)


def write_table(page: Path, name: str, text: str) -> None:
    """Write `text` into a page, between `<!-- NAME -->` and `<!-- end -->`."""
    before, start, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    page.write_text(f"{before}{start}{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Train what is missing, write the results and the tables of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="train nothing")
    only_table = parser.parse_args().table
    corpora = {name: read_corpus(name) for name in SHORTENED}
    orders = {name: frequency_order(corpus) for name, corpus in corpora.items()}
    for corpus, seed, remedy in product(SHORTENED, SEEDS, () if only_table else REMEDIES):
        file = cache_file(corpus, remedy, seed)
        if not file.is_file():
            log(f"{corpus}, seed {seed}: {remedy}")
            setting = settings(corpus, remedy, orders[corpus])
            train(corpus, corpora[corpus], filter(None, (f"train.seed={seed}", setting)), file)
    results = {}
    for corpus, order in orders.items():
        files = {name: [cache_file(corpus, name, seed) for seed in SEEDS] for name in REMEDIES}
        results[corpus] = collect(order, files)
        labels = {name: f"`{settings(corpus, name, [])}`" for name in REMEDIES}
        labels[BASELINE] = "none"
        labels["slot_weights"] = "`train.slot_weights`: 3 for the rarest third"
        text = table("remedy", labels, results[corpus], BASELINE)
        write_table(PAGE, corpus, f"{describe(order, corpora[corpus])}\n\n{text}")
    TARGET.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if not only_table:
        record("docs/imbalance.md", "python benchmarks/imbalance.py", *BILSTM_CRF)


if __name__ == "__main__":
    main()
