"""Calibration: temperatures that are recovered, errors that are measured, and what runs store."""

from __future__ import annotations

import json
import shutil
from itertools import product

import numpy as np
import pytest

from slotfill.data.sentence import Sentence, Slot
from slotfill.evaluation.calibration import (
    chance_error,
    expected_calibration_error,
    fit_temperature,
    reliability_curve,
    slot_correctness,
)
from slotfill.inference.calibration import Calibration
from slotfill.runs.manifest import write_run


def draw(temperature, count=20_000, seed=0):
    """Return logits of predictions, and whether each is correct if that is the temperature."""
    random = np.random.default_rng(seed)
    logits = np.abs(random.normal(2, 2, count))
    return logits, random.random(count) < confidences(logits, temperature)


def confidences(logits, temperature):
    return 1 / (1 + np.exp(-logits / temperature))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.3, 3.0])
def test_the_temperature_of_the_data_is_recovered(temperature):
    logits, correct = draw(temperature)
    found = fit_temperature(lambda t: confidences(logits, t), correct)
    assert found == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("value", [True, False])
def test_the_temperature_is_finite_if_all_predictions_are_correct_or_wrong(value):
    logits, _ = draw(1, 300)
    found = fit_temperature(lambda t: confidences(logits, t), np.full(300, value))
    assert 0.05 < found < 16


def test_the_temperature_is_1_if_it_changes_no_confidence():
    _, correct = draw(1, 300)
    assert fit_temperature(lambda t: np.zeros(300), correct) == 1


def test_the_error_is_the_distance_of_confidence_and_accuracy():
    correct = np.array([True, False] * 500)
    assert expected_calibration_error(np.full(1000, 0.8), correct) == pytest.approx(30, abs=1)
    assert expected_calibration_error(np.full(1000, 0.5), correct) < 2
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_the_range_of_a_bin_leaves_at_most_a_fortieth_on_each_side():
    """Against all outcomes of the ten predictions of a bin."""
    confidences = np.sort(np.random.default_rng(0).beta(5, 0.5, 150))
    outcomes = np.array([*product([0, 1], repeat=10)])
    right = outcomes.sum(axis=1)
    bins = reliability_curve(confidences, confidences > 0.5)
    for own, each in zip(confidences.reshape(15, 10), bins, strict=True):
        shares = np.where(outcomes, own, 1 - own).prod(axis=1)
        low, high = round(10 * each.low), round(10 * each.high)
        assert shares[right < low].sum() <= 0.025 < shares[right <= low].sum()
        assert shares[right > high].sum() <= 0.025 < shares[right >= high].sum()


def test_of_calibrated_confidences_the_error_is_small_and_bins_are_in_their_range():
    """The null experiment: outcomes are drawn with exactly the probabilities that are stated."""
    inside = total = 0
    errors, by_chance = [], []
    for seed in range(40):
        logits, correct = draw(1, 2000, seed)
        errors.append(expected_calibration_error(confidences(logits, 1), correct))
        by_chance.append(chance_error(confidences(logits, 1)))
        curve = reliability_curve(confidences(logits, 1), correct)
        assert sum(each.size for each in curve) == 2000
        assert max(each.size for each in curve) - min(each.size for each in curve) <= 1
        inside += sum(each.is_in_range for each in curve)
        total += len(curve)
    assert np.mean(errors) == pytest.approx(np.mean(by_chance), rel=0.06)
    assert 0.94 < inside / total < 0.99


def test_slots_where_the_label_is_not_known_are_neither_correct_nor_wrong():
    known, partly = (Sentence.from_tokens(list("abcd"), [Slot("x", 0, 1)]) for _ in range(2))
    partly.unknown = [(2, 3)]
    slots = [Slot("x", 0, 1), Slot("y", 1, 3)]
    judged, correct = slot_correctness([known, partly], [slots, slots])
    assert judged.tolist() == [True, True, True, False]
    assert correct.tolist() == [True, False, True]


def test_few_predictions_have_a_bin_each():
    curve = reliability_curve(np.array([0.9, 0.2]), np.array([True, False]))
    found = [(each.confidence, each.accuracy, each.size) for each in curve]
    assert found == [(0.2, 0, 1), (0.9, 1, 1)]


def with_calibration(run, folder, **values):
    """Return a copy of `run` with another calibration."""
    from slotfill.runs.load import load_run

    shutil.copytree(run, folder)
    content = Calibration(**values).to_json().encode()
    load_run(folder).files.replace({"calibration.json": content})
    return folder


def test_thresholds_of_unknown_slots_name_their_file(trained, tmp_path, cli):
    run = with_calibration(trained, tmp_path / "run", thresholds={"nope": 0.1})
    result = cli("predict", run, "leave Oslo")
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert result.err.startswith(f"slotfill: {run / 'calibration.json'}: thresholds.nope: no ")


def test_a_run_predicts_with_its_temperatures_in_every_engine(trained, tmp_path, cli):
    run = with_calibration(trained, tmp_path / "run", slot_temperature=3.0)
    plain, onnx, torch = (
        json.loads(cli("predict", path, "leave Oslo", "--engine", engine).out)["slots"][0]
        for path, engine in ((trained, "onnx"), (run, "onnx"), (run, "torch"))
    )
    assert onnx["confidence"] == pytest.approx(torch["confidence"], abs=2e-4)
    assert onnx["confidence"] < plain["confidence"]
    assert onnx | {"confidence": 0} == plain | {"confidence": 0}


def test_evaluate_reports_the_error_with_and_without_temperature(trained, tmp_path, cli):
    run = with_calibration(trained, tmp_path / "run", slot_temperature=3.0)
    own = json.loads(cli("evaluate", trained, "--json").out)["calibration"]
    other = json.loads(cli("evaluate", run, "--json").out)["calibration"]
    assert own["error"] == own["error_before"] == other["error_before"] != other["error"]
    assert f"calibration error of slots {other['error']:.2f}%, without" in cli("evaluate", run).out
    by_chance = f"(not calibrated; {own['error_by_chance']:.2f}% by chance)"
    assert f"{own['error']:.2f}% {by_chance}\n" in cli("evaluate", trained).out


def test_export_keeps_the_calibration(trained, tmp_path, cli):
    run = with_calibration(trained, tmp_path / "run", slot_temperature=3.0)
    before = (run / "calibration.json").read_bytes()
    assert cli("export", run, "--quantize", "int8").code == 0
    assert (run / "calibration.json").read_bytes() == before
    assert cli("predict", run, "leave Oslo").code == 0


def test_a_run_without_a_calibration_has_temperature_1(trained, tmp_path, cli):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    names = [path.name for path in trained.iterdir()]
    contents = {name: (run / name).read_bytes() for name in names}
    for name in ("calibration.json", "manifest.json"):
        (run / name).unlink()
        del contents[name]
    write_run(run, contents, completed=True)
    assert cli("predict", run, "leave Oslo").out == cli("predict", trained, "leave Oslo").out


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("slot_temperature", 0.0, "slot_temperature must be more than 0, found 0.0"),
        ("intent_temperature", "1", "intent_temperature must be float"),
        ("thresholds", {"city": 1.5}, "thresholds.city must be a number from 0 to 1, found 1.5"),
        ("threshold", None, "threshold is missing"),
    ],
)
def test_a_calibration_that_is_not_valid_is_refused(key, value, problem):
    content = json.dumps(json.loads(Calibration().to_json()) | {key: value}).encode()
    with pytest.raises(ValueError, match=problem):
        Calibration.from_json(content)
    assert Calibration.from_json(Calibration(thresholds={"a": 0.5}).to_json().encode()) == (
        Calibration(thresholds={"a": 0.5})
    )


def test_training_without_valid_says_that_confidences_are_not_calibrated(desk, cli):
    result = cli(
        "train", "tiny.yaml", "data={path: null, train: corpus/train.brackets, holdout: 0}"
    )
    assert "Confidences are not calibrated: there are no valid sentences.\n" in result.out


def test_a_small_valid_is_not_calibrated_on(trained, desk, cli):
    assert json.loads((trained / "calibration.json").read_text())["slot_temperature"] == 1
    result = cli("train", "tiny.yaml")
    assert "Confidences are not calibrated: " in result.out
    assert "slots predicted on valid, 200 are needed." in result.out
