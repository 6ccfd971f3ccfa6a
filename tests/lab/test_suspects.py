"""slotfill data --suspects: wrong labels are found by models that have not seen them."""

from __future__ import annotations

import json
import re
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, write_config

from slotfill.data.schemes import TagDecoder, all_tags
from slotfill.data.sentence import Slot
from slotfill.inference.confidence import slot_probabilities
from slotfill.inference.decoding import Hypotheses, Scores, Transitions

WRONG = {
    5: ("fly from [Oslo](destination) to [Lima](destination)", "type"),
    12: ("leave [Tokyo](origin) for [Paris please](destination)", "boundary"),
    20: ("leave Oslo for [Lima](destination) please", "spurious"),
    30: ("fly [from](origin) [Oslo](origin) to [Lima](destination)", "missed"),
}


@pytest.fixture
def wrong(desk) -> Path:
    """A corpus of one file, in which four lines have a wrong label."""
    lines = Path("corpus/train.brackets").read_text().splitlines() * 2
    for number, (line, _) in WRONG.items():
        lines[number - 1] = line
    Path("wrong.brackets").write_text("\n".join(lines) + "\n")
    write_config(
        Path("own.yaml"),
        data="{path: wrong.brackets}",
        train=SMALL["train"].replace("epochs: 6", "epochs: 8"),
    )
    return desk


def test_wrong_labels_come_first(wrong, cli):
    result = cli("data", "own.yaml", "--suspects", "--folds", 3, "--json")
    assert result.code == 0 and result.err.startswith("3 runs\n")
    suspects = json.loads(result.out)
    assert {s["location"]: s["error"] for s in suspects[:4]} == {
        f"wrong.brackets:{number}": problem for number, (_, problem) in WRONG.items()
    }
    scores = [suspect["score"] for suspect in suspects]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0
    for suspect in suspects:
        given, confidence = suspect["label_probability"], suspect["confidence"]
        assert suspect["score"] == pytest.approx(confidence - given)
        for slot in filter(None, (suspect["label"], suspect["predicted"])):
            assert suspect["text"][slot["start"] : slot["end"]] == slot["value"]
    first = next(s for s in suspects if s["error"] == "type")
    assert (first["label"]["name"], first["predicted"]["name"]) == ("destination", "origin")

    table = cli("data", "own.yaml", "--suspects", "--folds", 3, "--top", 2)
    assert table.out.startswith("3 runs, 3 of them already finished\n")
    assert len(re.findall(r"^│ (?:5|12|20|30) +│", table.out, re.MULTILINE)) == 2
    assert "Labels to check in wrong.brackets" in table.out
    assert f"{len(suspects)} labels contradicted" in table.out

    narrow = cli("data", "own.yaml", "--suspects", "--folds", 3, "--top", 2, columns=50)
    assert len(re.findall(r"^│ (?:5|12|20|30) +│", narrow.out, re.MULTILINE)) == 2
    assert narrow.out.count("┏") == 1


@pytest.mark.parametrize(
    "words", [["data", "coffee.brackets", "--suspects"], ["compare", "data.path=coffee.brackets"]]
)
def test_sentences_need_no_config(words, desk, cli):
    Path("coffee.brackets").write_text(Path("corpus/train.brackets").read_text())
    assert "data.path=coffee.brackets" in cli("compare", "coffee.brackets").err
    options = ["embedding=word", "encoder.hidden_size=4", "train.epochs=1", "--seeds", 1]
    options += ["--folds", 2]
    assert cli(*words, *options).code == 0
    assert len([*Path("runs/compare").rglob("fold2/coffee-seed1/scores.json")]) == 1


def test_wrong_intents_are_found(desk, cli):
    rows = [
        {"text": f"{verb} {city}", "slots": [], "intent": intent}
        for (verb, intent), city in product(
            [("arrive", "in"), ("leave", "out")], [f"city{n}" for n in range(30)]
        )
    ]
    rows[7]["intent"] = "out"
    Path("own.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    write_config(Path("own.yaml"), data="{path: own.jsonl}", intent="mean")
    result = cli("data", "own.yaml", "--suspects", "--folds", 2, "--seeds", "1,2", "--json")
    assert result.code == 0
    suspect = json.loads(result.out)[0]
    assert suspect["location"].endswith("own.jsonl:8")
    assert (suspect["error"], suspect["label"], suspect["predicted"]) == ("intent", "out", "in")


@pytest.mark.parametrize("kind", ["chain", "softmax", "beam"])
def test_probabilities_of_any_slots_are_sums_over_all_tag_sequences(kind):
    random = np.random.default_rng(3)
    tags = all_tags(["a", "b"], "iob2")
    decoder = TagDecoder(tags, "iob2")
    size, length = len(tags), 4
    emissions = random.normal(size=(1, length, size)).astype(np.float32)
    transitions = None
    if kind == "chain":
        pairs = random.normal(size=(size + 2, size)).astype(np.float32)
        transitions = Transitions(pairs[0], pairs[2:], pairs[1])
    paths = list(product(range(size), repeat=length))
    logp = np.array([sum(emissions[0, t, tag] for t, tag in enumerate(path)) for path in paths])
    if transitions:
        for index, path in enumerate(paths):
            steps = pairwise(path)
            logp[index] += transitions.start[path[0]] + transitions.end[path[-1]]
            logp[index] += sum(transitions.matrix[step] for step in steps)
    hypotheses = [Hypotheses(paths, logp)] if kind == "beam" else None
    scores = Scores(emissions, transitions, None, hypotheses)
    spans = [(start, end) for start in range(length) for end in range(start + 1, length + 1)]
    slots = [Slot(name, *span) for name in ("a", "b", "") for span in spans]
    best = [list(paths[int(logp.argmax())])]
    (found,) = slot_probabilities(scores, np.array([length]), best, [slots], decoder)
    weights = np.exp(logp - logp.max())
    readings = list(map(decoder, paths))
    for slot, probability in zip(slots, found, strict=True):
        _, start, end = slot
        true = [
            slot in reading if slot.name else all(s.end <= start or end <= s.start for s in reading)
            for reading in readings
        ]
        assert probability == pytest.approx(weights[true].sum() / weights.sum(), abs=1e-5), slot
