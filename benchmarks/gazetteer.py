"""What lists of known values give on MIT Restaurant: the embedding `gazetteer` with lists and none.

    python benchmarks/gazetteer.py            train what is missing; about an hour on one processor
    python benchmarks/gazetteer.py --table    only from the trainings that are there

Networks learn from a draw of the training sentences. The lists have the values of four slots: those
of the draw, which the network sees anyway, or those of all training sentences, as a list from
elsewhere would have values that no labelled sentence has. No list has a value because the test
set has it. Scores are those of the last epoch over the complete test set. Trainings are kept in
build/benchmarks/gazetteer and not repeated. Writes benchmarks/gazetteer.json and the table of
docs/values.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import statistics
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

from fixtures import CORPORA, ROOM, ROOT, log
from measured import BILSTM_CRF, record

from slotfill.config.models import Config
from slotfill.config.sections import DataConfig, TrainConfig
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.splits import read_split
from slotfill.evaluation.metrics import slot_f1
from slotfill.inference.tagging import predict
from slotfill.runs.train import build_trainer

PAGE = ROOT / "docs" / "values.md"
TARGET = Path(__file__).with_name("gazetteer.json")
CACHE = ROOM / "gazetteer"
SLOTS = ("Cuisine", "Dish", "Location", "Restaurant_Name")
SENTENCES, SEEDS = (500, 2000), (1, 2, 3)
SETTINGS = {
    "no list": None,
    "values of the draw": ("draw", 0.3),
    "all values": ("all", 0.3),
    "all values, dropout 0": ("all", 0.0),
    "all values, dropout 0.6": ("all", 0.6),
}
"""The source of the lists, and the dropout of their features."""


def values(sentences: Iterable[Sentence], slot: str) -> set[str]:
    """Return the values of a slot in lower case."""
    return {s.value(own).lower() for s in sentences for own in s.slots or () if own.name == slot}


def cache_file(number: int, seed: int, setting: str) -> Path:
    """Return the file of a training's scores."""
    return CACHE / f"{number}-{seed}-{setting.replace(', ', '-').replace(' ', '-')}.json"


def train(number: int, seed: int, setting: str) -> None:
    """Train on a draw of sentences and write the scores on test."""
    data = DataConfig(path=str(CORPORA["mit_restaurant"]), tokenizer="given")
    everything, test = (read_split(data, split).sentences for split in ("train", "test"))
    draw = random.Random(seed).sample(everything, number)
    embedding: list[dict[str, Any]] = [{"name": "word"}, {"name": "ngrams"}]
    CACHE.mkdir(parents=True, exist_ok=True)
    if source := SETTINGS[setting]:
        files = [CACHE / f"{number}-{seed}-{source[0]}-{slot}.txt" for slot in SLOTS]
        for file, slot in zip(files, SLOTS, strict=True):
            phrases = values(draw if source[0] == "draw" else everything, slot)
            file.write_text("".join(f"{phrase}\n" for phrase in sorted(phrases)), encoding="utf-8")
        options = {"lists": list(map(str, files)), "dropout": source[1]}
        embedding.append({"name": "gazetteer", **options})
    config = Config(data=data, embedding=embedding, train=TrainConfig(seed=seed, patience=0))
    trainer = build_trainer(config, {"train": draw, "valid": []})
    for _ in trainer.train():
        pass
    model, vocab = trainer.best_model().eval(), trainer.vocab
    predicted = predict(model, vocab, test).slots
    result = {"F1": slot_f1(test, predicted), **recalls(draw, everything, test, predicted)}
    cache_file(number, seed, setting).write_text(json.dumps(result), encoding="utf-8")


def recalls(
    draw: Sequence[Sentence],
    everything: Sequence[Sentence],
    test: Sequence[Sentence],
    predicted: Sequence[Sequence[Slot]],
) -> dict[str, float]:
    """Return the recall of the slots of `SLOTS` by where their value is in the training data."""
    drawn = {slot: values(draw, slot) for slot in SLOTS}
    listed = {slot: values(everything, slot) for slot in SLOTS}
    found: dict[str, list[bool]] = {"in the draw": [], "only in all": [], "in neither": []}
    for sentence, own_slots in zip(test, predicted, strict=True):
        for slot in sentence.slots or ():
            if slot.name in SLOTS:
                value = sentence.value(slot).lower()
                where = "in neither"
                if value in listed[slot.name]:
                    where = "in the draw" if value in drawn[slot.name] else "only in all"
                found[where].append(slot in own_slots)
    return {where: 100 * statistics.fmean(hits) for where, hits in found.items()}


def collect() -> list[dict[str, Any]]:
    """Return the scores of all trainings that are there."""
    keys = product(SENTENCES, SEEDS, SETTINGS)
    return [
        {"sentences": number, "seed": seed, "setting": setting}
        | json.loads(cache_file(number, seed, setting).read_text(encoding="utf-8"))
        for number, seed, setting in keys
        if cache_file(number, seed, setting).is_file()
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the mean scores over seeds, and the spread of F1, as a Markdown table."""
    columns = ("in the draw", "only in all", "in neither")
    heads = ("sentences", "lists", "seeds", "F1", "sd", *columns)
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for number, setting in product(SENTENCES, SETTINGS):
        own = [r for r in rows if (r["sentences"], r["setting"]) == (number, setting)]
        if len(own) > 1:
            f1s = [row["F1"] for row in own]
            cells = [f"{number:,}", setting, str(len(own))]
            cells += [f"{statistics.fmean(f1s):.2f}", f"{statistics.stdev(f1s):.2f}"]
            cells += [f"{statistics.fmean(row[name] for row in own):.1f}" for name in columns]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, write the results and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="train nothing")
    only_table = parser.parse_args().table
    if not only_table:
        for number, seed, setting in product(SENTENCES, SEEDS, SETTINGS):
            if not cache_file(number, seed, setting).is_file():
                log(f"{number} sentences, seed {seed}: {setting}")
                train(number, seed, setting)
    rows = collect()
    about = f"{date.today()}, {platform.machine()}, {os.cpu_count()} processors"
    result = {"about": about, "rows": rows}
    TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    block = re.compile(r"(<!-- gazetteer: [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
    content = f"\n{table(rows)}\n\n{about}.\n\n"
    page = PAGE.read_text(encoding="utf-8")
    page = block.sub(lambda match: match[1] + content + match[2], page)
    PAGE.write_text(page, encoding="utf-8", newline="\n")
    if not only_table:
        depends = (*BILSTM_CRF, "slotfill/data/values.py")
        record("docs/values.md", "python benchmarks/gazetteer.py", *depends)


if __name__ == "__main__":
    main()
