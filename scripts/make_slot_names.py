"""Measure slots without labelled examples, predicted from their names; write docs/new_slots.md.

    python scripts/make_slot_names.py                     every slot of MIT Restaurant, seed 1
    python scripts/make_slot_names.py --only Cuisine
    python scripts/make_slot_names.py --page              the page alone, from the results

For each slot, 100 sentences that do not have it are drawn, and the network learns the other slots.
Results are kept in runs/slot_names and not measured again.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from make_results import ROOT, machine, table
from measured import BILSTM_CRF, record
from samples import SHARED, read_corpus

from slotfill.config.builtin import load_config
from slotfill.evaluation.evaluate import evaluate
from slotfill.runs.environment import environment
from slotfill.runs.train import build_trainer

RESULTS = ROOT / "runs" / "slot_names"
PAGE = ROOT / "docs" / "new_slots.md"
TEXT = Path(__file__).with_name("new_slots.md")
DESCRIPTIONS = {
    "Amenity": "what a restaurant offers, as parking, a patio or delivery",
    "Cuisine": "kind of food, as italian or thai",
    "Dish": "something to eat, as pizza or a burger",
    "Hours": "when it is open, as late or at night",
    "Location": "where it is, as near, downtown or in the city",
    "Price": "what it costs, as cheap or expensive",
    "Rating": "how good it is, as best or five stars",
    "Restaurant_Name": "what a restaurant is called",
}
SETTINGS = ["tagger={name: crf, slot_names: true}", "embedding=[static]", "encoder.hidden_size=64"]
WAYS = ("name", "description")


def measure(slot: str, way: str, seed: int = 1) -> None:
    """Train without examples of a slot, and score it on test, unless that has been done."""
    file = RESULTS / f"{slot}-{way}-seed{seed}.json"
    if file.exists():
        return
    print(f"training {file.stem}", flush=True)
    corpus = "mit_restaurant"
    without = [
        sentence
        for sentence in read_corpus(corpus, "train")
        if slot not in {each.name for each in sentence.slots or ()}
    ]
    sentences = random.Random(1).sample(without, 100)
    described = {slot: DESCRIPTIONS[slot] if way == "description" else ""}
    settings = [f"data.path={SHARED / corpus}", f"train.seed={seed}", *SETTINGS]
    _, config = load_config(None, [*settings, f"data.slots={json.dumps(described)}"])
    trainer = build_trainer(config, {"train": sentences})
    for _ in trainer.train():
        pass
    scores = evaluate(trainer.best_model(), trainer.vocab, read_corpus(corpus, "test"))
    own = scores.slots[slot]
    found = {
        "slot": [own.precision, own.recall, own.f1, own.support],
        "others": _mean_f1(scores.slots, slot),
        "environment": environment(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _mean_f1(slots: dict[str, Any], slot: str) -> float:
    """Return the mean F1 of the other slots."""
    others = [score.f1 for name, score in slots.items() if name != slot]
    return sum(others) / len(others)


def _read(slot: str, way: str) -> dict[str, Any] | None:
    file = RESULTS / f"{slot}-{way}-seed1.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def page() -> str:
    """Return docs/new_slots.md: scripts/new_slots.md with the figures."""
    rows, finished = [], []
    for slot, description in DESCRIPTIONS.items():
        found = [_read(slot, way) for way in WAYS]
        if not any(found):
            continue
        cells = [f"`{slot}`"]
        for result in found:
            if result is None:
                cells += [""] * 3
                continue
            finished.append(result["environment"])
            cells += [f"{share:.1f}" for share in result["slot"][:3]]
        rows.append([*cells, description])
    head = ["slot", "precision", "recall", "F1", "described: precision", "recall", "F1"]
    about = f"{machine(finished[0])}, {max(each['finished'] for each in finished)[:10]}."
    figures = f"{table([*head, 'description'], rows)}\n\n{about}"
    return TEXT.read_text(encoding="utf-8").replace("FIGURES", figures)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=list(DESCRIPTIONS), help="only this slot"
    )
    parser.add_argument("--way", choices=WAYS, help="only with the name, or with a description")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    for slot in () if args.page else args.only or DESCRIPTIONS:
        for way in [args.way] if args.way else WAYS:
            measure(slot, way)
    PAGE.write_text(page(), encoding="utf-8")
    if not args.page:
        depends = (*BILSTM_CRF, "slotfill/model/taggers/_slot_names.py")
        record("docs/new_slots.md", "python scripts/make_slot_names.py", *depends)
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
