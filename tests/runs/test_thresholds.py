"""Thresholds: what they leave out, where they are set, and the lowest that reach a precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import slotfill
from slotfill.cli.highlight import highlight
from slotfill.errors import UsageError
from slotfill.evaluation.thresholds import find_threshold, score_thresholds
from slotfill.inference.calibration import Calibration
from slotfill.runs.load import load_run

TEXTS = ["leave New York for Oslo please", "arrive Oslo", "fly from Lima to Oslo", "hello there"]


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(trained):
    return Path(shutil.copytree(trained, "run"))


def read_slots(out):
    return [slot for line in out.splitlines() for slot in json.loads(line)["slots"]]


def test_slots_below_the_threshold_are_left_out_and_others_stay_as_they_are(run, cli):
    every = read_slots(cli("predict", run, *TEXTS).out)
    middle = sorted(slot["confidence"] for slot in every)[len(every) // 2] - 1e-4
    kept = [slot for slot in every if slot["confidence"] >= middle]
    assert 0 < len(kept) < len(every)
    assert read_slots(cli("predict", run, *TEXTS, "--threshold", middle).out) == kept
    assert read_slots(cli("predict", run, *TEXTS, "--threshold", 1).out) == []
    names = {slot["name"] for slot in every}
    only = cli("predict", run, *TEXTS, "--threshold", "1", "--threshold", "origin=0").out
    assert names == {"origin", "destination"}
    assert read_slots(only) == [slot for slot in every if slot["name"] == "origin"]


@pytest.mark.parametrize("options", [["--no-confidence"], ["--engine", "torch"], ["--jobs", "2"]])
def test_thresholds_hold_in_every_way_of_prediction(run, cli, options):
    out = cli("predict", run, *TEXTS, "--threshold", "origin=1", *options).out
    assert {slot["name"] for slot in read_slots(out)} == {"destination"}
    assert ('"confidence"' in out) == (options != ["--no-confidence"])


def test_python_takes_thresholds(run):
    every, kept = (
        slotfill.load(run, thresholds=thresholds).predict(TEXTS)
        for thresholds in (None, {"origin": 1.0})
    )
    for complete, left in zip(every, kept, strict=True):
        assert left.slots == tuple(slot for slot in complete.slots if slot.name != "origin")
    with pytest.raises(UsageError, match="threshold must be a number from 0 to 1, found 2"):
        slotfill.load(run, threshold=2)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("orign=0.5", "thresholds.orign: no training sentence has this slot; did you mean 'origin'?"
         " (allowed: destination, origin)"),
        ("2", "--threshold 2: expected a number from 0 to 1, or SLOT=NUMBER, as city=0.7"),
        ("origin=nan", "--threshold origin=nan: expected a number from 0 to 1, or SLOT=NUMBER, as"
         " city=0.7"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_thresholds_that_cannot_be_used_are_refused(command, option, message, run, cli):
    words = ["leave Oslo"] if command == "predict" else []
    result = cli(command, run, *words, "--threshold", option)
    assert (result.code, result.err, result.out) == (2, f"slotfill: {message}\n", "")


def test_a_threshold_of_intents_needs_a_run_with_intents(run, cli):
    result = cli("predict", run, "leave Oslo", "--intent-threshold", "0.5")
    assert result.err == "slotfill: intent_threshold: the run has learned no intents\n"
    assert (result.code, result.out) == (2, "")
    assert cli("predict", run, "leave Oslo", "--intent-threshold", "nan").code == 2


def test_a_config_sets_thresholds_of_the_run(desk, cli):
    trained = cli("train", "tiny.yaml", "thresholds={origin: 1.0}", "threshold=0.01", "--out", "b")
    assert trained.code == 0
    stored = json.loads(Path("b/calibration.json").read_text())
    assert (stored["threshold"], stored["thresholds"]) == (0.01, {"origin": 1.0})
    assert {slot["name"] for slot in read_slots(cli("predict", "b", *TEXTS).out)} <= {"destination"}
    scores = json.loads(cli("evaluate", "b", "--json").out)
    assert scores["slots"]["origin"]["recall"] == 0 < scores["left_out"]
    assert "left out below their threshold: " in cli("evaluate", "b").out
    assert read_slots(cli("predict", "b", *TEXTS, "--threshold", 0).out)


@pytest.mark.parametrize("command", ["train", "check"])
def test_a_threshold_of_an_unknown_slot_is_an_error_of_the_config(command, desk, cli):
    text = Path("tiny.yaml").read_text()
    Path("tiny.yaml").write_text(f"{text}thresholds:\n  orign: 0.7\n")
    result = cli(command, "tiny.yaml")
    line = text.count("\n") + 2
    assert result.err == (
        f"slotfill: tiny.yaml:{line}: thresholds.orign: no training sentence has this slot; did"
        " you mean 'origin'? (allowed: destination, origin)\n"
    )
    assert result.code == 2 and not Path("runs/tiny").exists()


def test_an_intent_below_its_threshold_is_null_with_candidates(tmp_path, cli):
    rows = [("fly to Oslo", "flight"), ("book a room", "hotel"), ("what time is it", "time")]
    for split in ("train", "valid"):
        Path(f"{split}.jsonl").write_text(
            "".join(
                json.dumps({"text": text, "slots": [], "intent": intent}) + "\n"
                for text, intent in rows * 8
            )
        )
    options = [
        "data.path=.",
        "embedding=word",
        "intent=mean",
        "train.epochs=3",
        "encoder.hidden_size=8",
    ]
    assert cli("train", *options, "--out", "a").code == 0
    sure = json.loads(cli("predict", "a", "fly to Oslo").out)
    unsure = json.loads(cli("predict", "a", "fly to Oslo", "--intent-threshold", 1).out)
    assert sure["intent"] == "flight" and "intents" not in sure
    assert unsure["intent"] is None
    assert unsure["intents"][0] == {"name": "flight", "confidence": sure["intent_confidence"]}
    assert {each["name"] for each in unsure["intents"][1:]} == {"hotel", "time"}
    (prediction,) = slotfill.load("a", intent_threshold=1).predict(["fly to Oslo"])
    assert prediction.intent is None and prediction.intents[0][0] == "flight"
    scores = json.loads(cli("evaluate", "a", "--json", "--intent-threshold", 1).out)
    assert scores["intent"]["accuracy"] == 0 and scores["intent"]["left_out"] == 24
    shown = cli("evaluate", "a", "--intent-threshold", 1, "--errors", "errors.jsonl").out
    assert "left out below their threshold: 24 intents\n" in shown
    assert '"error": "intent"' not in Path("errors.jsonl").read_text()
    assert cli("evaluate", "a", "--intent-threshold", 1, "--report", "report.html").code == 0
    assert "Left out below their threshold: 0 slots, 24 intents;" in Path("report.html").read_text()


def test_a_threshold_of_intents_is_found_and_keeps_those_of_slots(cli):
    """Two of ten intents of valid are wrong, so the precision without a threshold is 80 %."""
    for split, intent in (("train", "bed"), ("valid", "flight")):
        rows = [{"text": "fly", "slots": [], "intent": "flight"}] * 8
        rows += [{"text": "sleep now", "slots": [], "intent": intent}] * 2
        Path(f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows * 3))
    options = ["data.path=.", "intent=mean", "train.epochs=8", "encoder.hidden_size=8"]
    assert cli("train", *options, "threshold=0.25", "--out", "a").code == 0
    found = json.loads(cli("threshold", "a", "--intents", "--precision", 1, "--json").out)
    stored = json.loads(Path("a/calibration.json").read_text())
    assert stored["intent_threshold"] == found["intent_threshold"] > 0
    assert stored["threshold"] == 0.25
    assert (found["before"]["precision"], found["after"]["precision"]) == (80, 100)
    result = json.loads(cli("evaluate", "a", "--split", "valid", "--json").out)["intent"]
    assert found["after"] == pytest.approx(result["overall"])
    assert result["left_out"] >= 6
    shown = cli("threshold", "a", "--intents", "--precision", 0.5)
    assert f"intent_threshold {found['intent_threshold']:g} -> 0\n" in shown.out
    assert cli("threshold", "a", "--intents", "--per-slot", "--precision", 1).code == 2


def test_intents_have_a_threshold_only_if_they_are_learned(run, cli):
    result = cli("threshold", run, "--intents", "--precision", 0.9)
    assert (result.code, result.err) == (2, "slotfill: run: the run has learned no intents\n")


def test_an_intent_below_its_threshold_is_told_without_confidences(cli):
    Path("train.jsonl").write_text(
        '{"text": "fly", "slots": [], "intent": "flight"}\n'
        '{"text": "sleep", "slots": [], "intent": "hotel"}\n' * 4
    )
    options = ["data.path=train.jsonl", "data.holdout=0", "intent=mean", "train.epochs=1"]
    assert cli("train", *options, "encoder.hidden_size=4", "--out", "a").code == 0
    plain = cli("predict", "a", "fly", "--intent-threshold", 1, "--no-confidence").out
    assert json.loads(plain) == {"text": "fly", "slots": [], "intent": None}
    tagged = [
        slotfill.load("a", intent_threshold=1, confidence=confidence).tag(["fly"])[0]
        for confidence in (True, False)
    ]
    assert tagged[0].confidence is not None
    candidates = " ".join(f"{name} {p:.2f}?" for name, p in tagged[0].confidence.candidates)
    assert [highlight(each, []).plain for each in tagged] == [f"{candidates}: fly", "?: fly"]


def test_the_lowest_threshold_with_the_precision_is_found():
    """Against trying the thresholds of 4 decimals beside each confidence; scores change there."""
    for seed in range(30):
        random = np.random.default_rng(seed)
        confidences = random.random(int(random.integers(1, 60)))
        correct = random.random(len(confidences)) < confidences
        beside = np.floor(confidences[:, None] * 1e4) + np.arange(-1, 2)
        thresholds = np.unique(np.append(beside, 0).clip(0)) / 1e4
        grid = score_thresholds(confidences, correct, 80, thresholds)
        for precision in (0.3, 0.8, 0.95, 1.0):
            found = find_threshold(confidences, correct, precision)
            reached = [row for row in grid if row.precision >= precision and row.coverage > 0]
            assert (found is None) == (not reached)
            if reached:
                (row,) = score_thresholds(confidences, correct, 80, [found])
                assert row[1:] == reached[0][1:]


def test_threshold_stores_what_it_finds_in_the_run(run, cli):
    before = (run / "calibration.json").read_bytes()
    shown = cli("threshold", run, "--precision", "0.9", "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert (run / "calibration.json").read_bytes() == before
    found = json.loads(cli("threshold", run, "--precision", "0.9", "--json").out)
    assert json.loads((run / "calibration.json").read_text())["threshold"] == found["threshold"]
    (row,) = [row for row in found["scores"] if row["threshold"] == found["threshold"]]
    assert row["precision"] >= 0.9
    scores = json.loads(cli("evaluate", run, "--split", "valid", "--json").out)["overall"]
    assert scores["precision"] == pytest.approx(100 * row["precision"])
    assert scores["recall"] == pytest.approx(100 * row["recall"])
    assert f"{row['threshold']:.4f}" in shown.out and "16 sentences" in shown.out
    assert slotfill.load(run, engine="torch").predict(TEXTS)


def test_threshold_keeps_the_thresholds_of_slots_and_tells_what_it_replaces(run, cli):
    calibration = Calibration(threshold=1.0, thresholds={"origin": 1.0, "destination": 0.2})
    load_run(run).files.replace({"calibration.json": calibration.to_json().encode()})
    found = json.loads(cli("threshold", run, "--precision", 0.5, "--dry-run", "--json").out)
    assert found["thresholds"] == {"origin": 1, "destination": 0.2}
    change = f"{run}: threshold 1 -> {found['threshold']:g}"
    kept = f"{change}, origin 1 as before, destination 0.2 as before\n"
    shown = cli("threshold", run, "--precision", 0.5, "--dry-run").out
    assert shown.endswith(f"found, not stored in {kept}")
    assert "slots predicted on valid are too few to trust the precision; 200 are" in shown
    assert cli("threshold", run, "--precision", 0.5).out.endswith(f"stored in {kept}")
    result = cli("threshold", run, "--precision", 0.5, "--per-slot").out
    assert result.endswith("origin 1 -> none, destination 0.2 -> none\n")


def test_the_precision_of_no_slots_is_a_dash(run, cli, monkeypatch):
    monkeypatch.setattr("slotfill.runs.threshold.LEVELS", (0.0, 1.0))
    shown = cli("threshold", run, "--precision", 0.5).out
    (row,) = (line for line in shown.splitlines() if "1.0000" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["1.0000", "-", "0.00", "0.00"]


def test_threshold_per_slot(run, cli, monkeypatch):
    monkeypatch.setattr("slotfill.runs.threshold.MIN_SLOTS", 3)
    found = json.loads(cli("threshold", run, "--precision", "0.5", "--per-slot", "--json").out)
    assert set(found["thresholds"]) <= {"origin", "destination"} and found["thresholds"]
    result = json.loads(cli("evaluate", run, "--split", "valid", "--json").out)
    scores = result["slots"]
    assert found["after"] == pytest.approx(result["overall"])
    plain = json.loads(cli("evaluate", run, "--split", "valid", "--threshold", 0, "--json").out)
    assert found["before"] == pytest.approx(plain["overall"])
    for name, row in found["slots"].items():
        assert row["precision"] >= 0.5
        assert scores[name]["precision"] == pytest.approx(100 * row["precision"])


def test_a_precision_that_cannot_be_reached_is_one_line(run, cli):
    from slotfill.evaluation import thresholds

    before = (run / "calibration.json").read_bytes()
    Path("corpus").mkdir()
    for split, name in (("train", "origin"), ("valid", "destination")):
        text = f"[hello]({name}) [Oslo]({name})\n" * 30 + "[there](destination)\n"
        Path(f"corpus/{split}.brackets").write_text(text)
    assert thresholds.find_threshold(np.array([0.9]), np.array([False]), 0.5) is None
    cli("train", "data.path=corpus", "train.epochs=3", "--out", "bad")
    result = cli("threshold", "bad", "--precision", "1")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("slotfill: no threshold reaches a precision of 1 on valid (")
    assert cli("threshold", run, "--precision", "98").code == 2
    assert (run / "calibration.json").read_bytes() == before
