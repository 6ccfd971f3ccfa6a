"""Compare rules that select the epoch when sentences are few, on the same draws and seeds.

    python benchmarks/selection.py            train what is missing; about an hour on one processor
    python benchmarks/selection.py --table    only from the trainings that are there

Each training runs to the end of its schedule and records the valid metrics of each epoch, so that
one training serves all rules; F1 is over the complete test set. Trainings are kept in
build/benchmarks/selection and not repeated. Writes benchmarks/selection.json and prints its table.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fixtures import CORPORA, ROOM, log

from slotfill.config.models import Config
from slotfill.config.sections import DataConfig, TrainConfig
from slotfill.data.batching import make_batch
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split
from slotfill.data.stratification import draw_holdout
from slotfill.data.vocab import Vocab
from slotfill.evaluation.metrics import slot_f1
from slotfill.inference.tagging import predict
from slotfill.model.network import Network
from slotfill.runs.train import build_trainer
from slotfill.training import defaults

TARGET = Path(__file__).with_name("selection.json")
CACHE = ROOM / "selection"
SENTENCES, DRAWS, SEEDS = (100, 250), (1, 2), (1, 2, 3)

TRAININGS = {"held out": 1000, "stratified": 1000, "all": 1000, "all, 2,000 steps": 2000}
"""What is learned from, and in how many steps: nine tenths drawn at random, nine tenths that leave
a stratified holdout, or all sentences."""

Row = dict[str, float]
"""The metrics of an epoch: valid F1 and loss, and test F1 where a rule selects the epoch."""


def first_best(rows: Sequence[Row]) -> int:
    """Return the first of the epochs with the best F1, with early stopping: the former rule."""
    patience = max(defaults.PATIENCE, len(rows) // 3)
    best = 0
    for epoch, row in enumerate(rows):
        if row["f1"] > rows[best]["f1"]:
            best = epoch
        if epoch - best >= patience:
            break
    return best


def last_best(rows: Sequence[Row]) -> int:
    """Return the last of the epochs with the best F1."""
    return max(range(len(rows)), key=lambda epoch: (rows[epoch]["f1"], epoch))


def smoothed_best(rows: Sequence[Row]) -> int:
    """Return the last epoch with the best mean F1 over the tenth of the schedule before it."""
    window = max(1, len(rows) // 10)
    f1s = [row["f1"] for row in rows]
    means = [statistics.fmean(f1s[max(0, end - window) : end]) for end in range(1, len(f1s) + 1)]
    return max(range(len(rows)), key=lambda epoch: (means[epoch], epoch))


def lowest_loss(rows: Sequence[Row]) -> int:
    """Return the epoch with the lowest loss of the valid sentences."""
    return min(range(len(rows)), key=lambda epoch: rows[epoch]["loss"])


def last(rows: Sequence[Row]) -> int:
    """Return the last epoch of the schedule."""
    return len(rows) - 1


Rule = Callable[[Sequence[Row]], int]
RULES: dict[str, Rule] = {
    "first best F1, patience": first_best,
    "last best F1": last_best,
    "smoothed F1": smoothed_best,
    "lowest loss": lowest_loss,
    "last epoch": last,
}
BASELINE = "held out: first best F1, patience"


def rules_for(training: str) -> dict[str, Rule]:
    """Return the rules that a training is evaluated with."""
    return RULES if training == "held out" else {"last epoch": last}


def cache_file(corpus: str, number: int, draw: int, seed: int, training: str) -> Path:
    """Return the file of a training's metrics."""
    return CACHE / f"{corpus}-{number}-{draw}-{seed}-{training.replace(', ', '-')}.json"


def train(corpus: str, number: int, draw: int, seed: int, training: str) -> None:
    """Train on a draw of sentences and write the metrics of each epoch."""
    data = DataConfig(path=str(CORPORA[corpus]), tokenizer="given")
    everything, test = (read_split(data, split).sentences for split in ("train", "test"))
    sentences = random.Random(draw).sample(everything, number)
    if training == "stratified":
        held = sorted(draw_holdout(sentences, number // 10))
    else:
        held = np.random.default_rng(0).permutation(number)[: number // 10].tolist()
    valid = [sentences[index] for index in held]
    rest = [sentence for index, sentence in enumerate(sentences) if index not in held]
    corpora = {"train": sentences if training.startswith("all") else rest, "valid": valid}
    defaults.STEPS = TRAININGS[training]
    config = Config(data=data, train=TrainConfig(seed=seed, patience=0))
    rows: list[Row] = []
    weights: list[dict[str, torch.Tensor]] = []
    trainer = build_trainer(config, corpora)
    model, vocab = trainer.model, trainer.vocab
    for epoch in trainer.train():
        with trainer.ema_weights():
            rows.append({"f1": epoch.valid_f1, "loss": mean_loss(model.eval(), vocab, valid)})
            weights.append({key: value.clone() for key, value in model.state_dict().items()})
    for selected in {rule(rows) for rule in rules_for(training).values()}:
        model.load_state_dict(weights[selected])
        rows[selected]["test"] = slot_f1(test, predict(model.eval(), vocab, test)[0])
    slots = sum(len(sentence.slots or ()) for sentence in valid)
    CACHE.mkdir(parents=True, exist_ok=True)
    result = {"rows": rows, "seconds": sum(row.seconds for row in trainer.history)}
    cache_file(corpus, number, draw, seed, training).write_text(
        json.dumps(result | {"valid slots": slots}), encoding="utf-8"
    )


@torch.inference_mode()
def mean_loss(model: Network, vocab: Vocab, sentences: Sequence[Sentence]) -> float:
    """Return the mean loss of `sentences`, without those that have a tag unknown in training."""
    tokens, ids = [], []
    for sentence in sentences:
        tags = slots_to_tags(sentence.slots or [], len(sentence.tokens), vocab.scheme)
        if all(tag in vocab.tag_ids for tag in tags):
            tokens.append(sentence.tokens)
            ids.append([vocab.tag_ids[tag] for tag in tags])
    return float(model.loss(make_batch(tokens, model.indexers, ids)))


def collect() -> dict[str, dict[str, float]]:
    """Return the test F1 of each training and rule by corpus, sentences, draw and seed."""
    results: dict[str, dict[str, float]] = {}
    for training, *key in product(TRAININGS, CORPORA, SENTENCES, DRAWS, SEEDS):
        file = cache_file(*key, training)
        if not file.is_file():
            continue
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
        for name, rule in rules_for(training).items():
            f1s = results.setdefault(f"{training}: {name}", {})
            f1s["-".join(map(str, key))] = round(rows[rule(rows)]["test"], 2)
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """Return the mean test F1 and the paired difference from the former rule, per sentences."""
    lines = [f"{'':40}{'sentences':>10}{'runs':>5}{'F1':>7}{'differs':>9}{'sd':>6}{'range':>16}"]
    for name, number in product(results, (*SENTENCES, "all")):
        keys = [
            key
            for key in results[name]
            if key in results[BASELINE] and number in ("all", int(key.split("-")[1]))
        ]
        if len(keys) < 2:
            continue
        f1 = statistics.fmean(results[name][key] for key in keys)
        differences = [results[name][key] - results[BASELINE][key] for key in keys]
        lines.append(
            f"{name:40}{number:>10}{len(keys):5}{f1:7.2f}{statistics.fmean(differences):+9.2f}"
            f"{statistics.stdev(differences):6.2f}"
            f"{min(differences):+8.2f}{max(differences):+8.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, write the results and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="train nothing")
    if not parser.parse_args().table:
        for number, draw, seed, training, corpus in product(
            SENTENCES, DRAWS, SEEDS, TRAININGS, CORPORA
        ):
            if not cache_file(corpus, number, draw, seed, training).is_file():
                log(f"{corpus}, {number} sentences, draw {draw}, seed {seed}: {training}")
                train(corpus, number, draw, seed, training)
    results: dict[str, Any] = collect()
    TARGET.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
