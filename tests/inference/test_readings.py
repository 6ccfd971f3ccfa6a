"""The best readings against all tag sequences, and the score of unfamiliar sentences."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from test_confidence import TRANSITIONS, sequence_probabilities, slot_names

import slotfill
from slotfill.cli.highlight import print_highlighted
from slotfill.data.schemes import SCHEMES, TagDecoder, all_tags
from slotfill.inference.confidence import in_domain_score, intent_probabilities
from slotfill.inference.decoding import Hypotheses, Scores
from slotfill.inference.readings import best_intents, best_slots
from slotfill.runs.predict import Predictor

TEXTS = ["leave New York for Oslo please", "arrive Oslo", "hello there"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", TRANSITIONS)
def test_readings_have_the_probability_of_all_sequences_that_are_these_slots(kind, scheme):
    random = np.random.default_rng(len(scheme))
    tags = all_tags(slot_names(scheme), scheme)
    decoder = TagDecoder(tags, scheme)
    for length, temperature in ((1, 1.0), (3, 1.0), (4, 1.6)):
        emissions = random.normal(scale=2, size=(1, length, len(tags))).astype(np.float32)
        transitions = TRANSITIONS[kind](tags, scheme, random)
        scores = Scores(emissions, transitions)
        paths, probabilities = sequence_probabilities(emissions[0], transitions, temperature)
        expected = Counter()
        for path, probability in zip(paths, probabilities, strict=True):
            expected[tuple(decoder(path))] += probability
        possible = sum(probability > 0 for probability in expected.values())
        every = best_slots(scores, 0, length, decoder, temperature, 10_000)
        assert len(every) == possible
        assert sum(probability for _, probability in every) == pytest.approx(1, abs=1e-5)
        for slots, probability in every:
            assert probability == pytest.approx(expected[tuple(slots)], abs=2e-6)
        for count in (1, 3, 6):
            best = best_slots(scores, 0, length, decoder, temperature, count)
            assert len(best) == min(count, possible)
            if decoder.is_unique and transitions is not None:
                assert [slots for slots, _ in best] == [slots for slots, _ in every[:count]]
            for slots, probability in best:
                assert probability == pytest.approx(expected[tuple(slots)], abs=2e-6)


def test_hypotheses_that_are_the_same_slots_are_one_reading():
    decoder = TagDecoder(all_tags(["x"], "iob2"), "iob2")
    # I-x after O is read as B-x, so the first and the last are the same slots.
    hypotheses = Hypotheses([[1, 0], [0, 0], [2, 0]], np.log([0.4, 0.3, 0.1]))
    scores = Scores(np.zeros((1, 2, 3)), hypotheses=[hypotheses])
    (first, second) = best_slots(scores, 0, 2, decoder, 1.0, 5)
    assert (first[0], second[0]) == (decoder([1, 0]), [])
    assert (first[1], second[1]) == pytest.approx((0.5 / 0.8, 0.3 / 0.8))


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_the_best_sets_of_intents_are_those_of_all_sets(count):
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(scale=2, size=5)
        (single,) = intent_probabilities(logits[None], True, 1.3)
        expected = {
            tuple(np.flatnonzero(chosen).tolist()): np.where(chosen, single, 1 - single).prod()
            for chosen in product([False, True], repeat=5)
            if any(chosen)
        }
        not_empty = sum(expected.values())
        expected = {ids: each / not_empty for ids, each in expected.items()}
        order = sorted(expected, key=lambda ids: -expected[ids])[:count]
        found = best_intents(logits, True, 1.3, count)
        assert [tuple(ids) for ids, _ in found] == order
        assert [each for _, each in found] == pytest.approx([expected[ids] for ids in order])
        (row,) = intent_probabilities(logits[None], False, 1.3)
        assert best_intents(logits, False, 1.3, count)[0] == ([logits.argmax()], max(row))


def test_predict_writes_the_readings_and_the_first_is_the_prediction(trained, cli):
    rows = list(map(json.loads, cli("predict", trained, *TEXTS, "--nbest", 3).out.splitlines()))
    plain = list(map(json.loads, cli("predict", trained, *TEXTS).out.splitlines()))
    for row, without in zip(rows, plain, strict=True):
        readings = row.pop("readings")
        assert row == without
        probabilities = [reading["confidence"] for reading in readings]
        assert len(readings) == 3 and probabilities == sorted(probabilities, reverse=True)
        assert probabilities[0] == pytest.approx(row["confidence"], abs=2e-4)
        first = [{**slot, "confidence": None} for slot in row["slots"]]
        assert first == [{**slot, "confidence": None} for slot in readings[0]["slots"]]
        assert all(row["text"][s["start"] : s["end"]] == s["value"] for s in readings[1]["slots"])
    (prediction, *_) = slotfill.load(trained, nbest=2).predict(TEXTS)
    assert [reading.slots for reading in prediction.readings[:1]] == [
        tuple(slot._replace(confidence=None) for slot in prediction.slots)
    ]
    assert len(prediction.readings) == 2 and prediction.readings[1].confidence < 0.5


def test_rules_apply_to_each_reading_and_equal_ones_are_one(trained, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(trained, "run")
    texts = [*TEXTS, " "]

    def predict():
        lines = cli("predict", run, *texts, "--nbest", 10).out.splitlines()
        return [json.loads(line) for line in lines]

    def list_slots(reading):
        return [(slot["name"], slot["value"]) for slot in reading["slots"]]

    plain = predict()
    Path("rules.yaml").write_text(
        "rules: [{slot: destination, pattern: New York|Oslo.*, action: veto}]"
    )
    assert cli("values", run, "rules.yaml").code == 0
    for row, without in zip(predict(), plain, strict=True):
        expected = Counter()
        for reading in without["readings"]:
            kept = [
                (name, value)
                for name, value in list_slots(reading)
                if name != "destination" or not re.match("New York$|Oslo", value)
            ]
            expected[tuple(kept)] += reading["confidence"]
        found = {tuple(list_slots(each)): each["confidence"] for each in row["readings"]}
        assert len(found) == len(row["readings"])
        assert found == pytest.approx(expected, abs=1e-3)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert len(found) == 1 < len(plain[1]["readings"])

    assert cli("values", run, "rules.yaml", "rules=[{slot: city, pattern: Oslo}]").code == 0
    for row in predict():
        if "Oslo" in row["text"]:
            assert all(("city", "Oslo") in list_slots(reading) for reading in row["readings"])


def test_an_empty_text_has_one_empty_reading(trained):
    (prediction,) = slotfill.load(trained, nbest=2).predict([" "])
    assert [(each.slots, each.confidence) for each in prediction.readings] == [((), 1.0)]


def test_readings_on_a_terminal_are_one_a_line(trained, capsys):
    predictor = Predictor.load(trained, nbest=2)
    print_highlighted(predictor.tag(["arrive Oslo"]), ["destination", "origin"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("arrive Oslo destination") and float(first[:6]) > float(second[:6]) > 0


def test_readings_need_confidence_and_json_lines(trained, cli):
    for options, message in (
        (["--no-confidence"], "--nbest gives readings with their probabilities; omit"
         " --no-confidence"),
        (["--format", "conll"], "--nbest needs JSON lines, not conll; omit --format"),
    ):  # fmt: skip
        result = cli("predict", trained, "arrive Oslo", "--nbest", 2, *options)
        assert (result.code, result.err, result.out) == (2, f"slotfill: {message}\n", "")


def test_sentences_unlike_those_of_training_have_a_low_score(trained, cli):
    texts = ["arrive Oslo", "play the latest album of Oslo", "qwxz zzz"]
    lines = cli("predict", trained, *texts).out.splitlines()
    known, half, unknown = (json.loads(line)["in_domain"] for line in lines)
    assert 1 >= known > half > unknown == 0
    assert slotfill.load(trained).predict(texts)[0].in_domain == pytest.approx(known, abs=1e-4)
    assert in_domain_score(0.5, 2, 0.81, 0.8) == pytest.approx(0.5 * 0.9 * 0.8)
