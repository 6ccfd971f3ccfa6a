"""Scores equal those of seqeval, and the interval contains the score; edge cases are defined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.evaluation.metrics import (
    PRFScore,
    compute_interval,
    intent_accuracy,
    score_intents,
    score_slots,
    slot_f1,
)

NAMES = ["city", "fromloc.city-name", "出發地", "_", "micro avg", "macro avg", "weighted avg"]


@st.composite
def taggings(draw):
    """Draw gold and predicted slots of a sentence, often equal, adjacent or none."""
    length = draw(st.integers(1, 7))

    def slots():
        predicted, at = [], 0
        for gap, size, name in draw(
            st.lists(
                st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(NAMES)), max_size=4
            )
        ):
            if at + gap + size <= length:
                predicted.append(Slot(name, at + gap, at + gap + size))
                at += gap + size
        return predicted

    gold = slots()
    return Sentence.from_tokens(["w"] * length, gold), list(gold) if draw(
        st.booleans()
    ) else slots()


@given(cases=st.lists(taggings(), min_size=1, max_size=6))
@settings(max_examples=50, derandomize=True)
def test_scores_equal_those_of_seqeval(cases):
    # Here, as the import takes a second in each process that collects the tests.
    from seqeval.metrics.sequence_labeling import (
        accuracy_score,
        f1_score,
        precision_recall_fscore_support,
    )

    gold, predicted = [case[0] for case in cases], [case[1] for case in cases]
    gold_tags = [slots_to_tags(s.slots, len(s.tokens), "iob2") for s in gold]
    tags = [
        slots_to_tags(slots, len(s.tokens), "iob2")
        for s, slots in zip(gold, predicted, strict=True)
    ]
    result = score_slots(gold, predicted)
    names = {slot.name for s in gold for slot in s.slots}
    names |= {slot.name for slots in predicted for slot in slots}
    assert list(result.slots) == sorted(names), "every name has a row, averages included"
    for average, scores in (("micro", [result.overall]), (None, list(result.slots.values()))):
        if not names:
            assert all(score == PRFScore(0, 0, 0, 0) for score in scores)
            continue
        reference = precision_recall_fscore_support(
            gold_tags, tags, average=average, warn_for=(), zero_division=0
        )
        for index, field in enumerate(("precision", "recall", "f1")):
            computed = [getattr(score, field) for score in scores]
            assert computed == pytest.approx((100 * np.atleast_1d(reference[index])).tolist())
        assert [score.support for score in scores] == np.atleast_1d(reference[3]).tolist()
    if gold_names := {slot.name for s in gold for slot in s.slots}:
        reference = f1_score(gold_tags, tags, average=None, zero_division=0)
        f1s = dict(zip(sorted(names), reference, strict=True))
        macro_f1 = 100 * np.mean([f1s[name] for name in gold_names])
        assert result.macro_f1 == pytest.approx(macro_f1)
        if names == gold_names:
            seqeval = f1_score(gold_tags, tags, average="macro", zero_division=0)
            assert result.macro_f1 == pytest.approx(100 * seqeval)
    assert result.tag_accuracy == pytest.approx(100 * accuracy_score(gold_tags, tags))
    assert result.sentence_accuracy == pytest.approx(
        100 * sum(s.slots == slots for s, slots in zip(gold, predicted, strict=True)) / len(gold)
    )
    assert slot_f1(gold, predicted) == result.overall.f1
    low, high = result.f1_interval
    assert 0 <= low <= high <= 100
    assert (result.sentences, result.tokens) == (len(gold), sum(len(s.tokens) for s in gold))


@pytest.mark.parametrize("name", ["micro avg", "macro avg", "weighted avg"])
def test_a_slot_named_like_an_average_keeps_its_row(name):
    gold = [sentence(Slot(name, 0, 1), A._replace(start=1, end=2))]
    result = score_slots(gold, [[Slot(name, 0, 1)]])
    assert result.slots == {name: PRFScore(100, 100, 100, 1), "a": PRFScore(0, 0, 0, 1)}
    assert result.overall.support == 2


def sentence(*slots, length=4):
    return Sentence.from_tokens(["w"] * length, list(slots))


A, B = Slot("a", 0, 2), Slot("b", 3, 4)


def test_scores_of_a_worked_example():
    gold = [sentence(A, B), sentence(A), sentence()]
    predicted = [[A, B], [Slot("a", 0, 1)], [B]]
    result = score_slots(gold, predicted)
    # Two of four predicted are right, two of three gold are predicted.
    assert (result.overall.precision, result.overall.support) == (50, 3)
    assert result.overall.recall == pytest.approx(200 / 3)
    assert result.overall.f1 == pytest.approx(400 / 7)
    assert result.slots["a"].f1 == pytest.approx(50) and result.slots["b"].precision == 50
    assert result.sentence_accuracy == pytest.approx(100 / 3)
    assert result.tag_accuracy == pytest.approx(100 * 10 / 12)


def test_tokens_whose_label_is_not_known_count_for_nothing():
    gold = sentence(A)
    gold.unknown = [(2, 4)]
    for predicted, accuracy in (([A], 100), ([A, B], 100), ([], 0)):
        result = score_slots([gold], [predicted])
        assert (result.tag_accuracy, result.sentence_accuracy) == (accuracy, accuracy)
        assert result.overall.f1 == slot_f1([gold], [predicted]) == accuracy


def test_a_wrong_span_or_name_is_a_false_positive_and_a_false_negative():
    for wrong in (Slot("a", 0, 3), Slot("a", 1, 2), Slot("b", 0, 2)):
        assert slot_f1([sentence(A)], [[wrong]]) == 0
    # Two slots of one name side by side are not one long one.
    assert slot_f1([sentence(Slot("a", 0, 1), Slot("a", 1, 2))], [[A]]) == 0


@pytest.mark.parametrize(
    ("gold", "predicted", "accuracy"),
    [([A], [], 50), ([], [A], 50), ([], [], 100)],
    ids=["missed", "invented", "none"],
)
def test_scores_without_gold_or_predicted_slots(gold, predicted, accuracy):
    result = score_slots([sentence(*gold)], [predicted])
    assert result.overall.f1 == slot_f1([sentence(*gold)], [predicted]) == result.macro_f1 == 0
    low, high = result.f1_interval
    assert low == 0
    assert (high > 50) == bool(gold or predicted)
    assert result.tag_accuracy == accuracy
    assert result.sentence_accuracy == (100 if accuracy == 100 else 0)


def test_the_interval_matches_the_normal_approximation():
    gold = [sentence(A, B)] * 60 + [sentence(A)] * 40
    predicted = [[A, B]] * 60 + [[B]] * 20 + [[]] * 20
    result = score_slots(gold, predicted)
    low, high = result.f1_interval
    assert low < result.overall.f1 < high
    # 95 % of a nearly normal spread, measured here by drawing sentences in another way.
    random = np.random.default_rng(7)
    draws = random.multinomial(100, [0.6, 0.2, 0.2], 4000) @ [[2, 2, 2], [0, 1, 1], [0, 0, 1]]
    spread = (200 * draws[:, 0] / (draws[:, 1] + draws[:, 2])).std()
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    narrow = score_slots(gold * 10, predicted * 10).f1_interval
    assert (narrow[1] - narrow[0]) * 2 < high - low
    assert score_slots(gold, predicted).f1_interval == (low, high)


@pytest.mark.parametrize(("size", "f1"), [(5, 0.95), (10, 0.9), (30, 0.6)])
def test_the_interval_of_few_sentences_contains_the_true_f1_in_95_percent_of_cases(size, f1):
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        correct = random.binomial(2, f1, size)
        counts = np.stack([correct, np.full(size, 2), np.full(size, 2)], axis=1)
        low, high = compute_interval(counts, samples=100)
        covered += low <= 100 * f1 <= high
    assert covered >= 0.93 * 200
    low, high = score_slots([sentence(A)] * 5, [[A]] * 5).f1_interval
    assert 50 < low < 60 and high == 100  # Wilson: 5 / (5 + 1.96 ** 2)


def bootstrap(counts, samples=1000):
    """Return the percentiles of F1 of the sums of redrawn sentences, all drawn at once."""
    draws = np.random.default_rng(0).integers(0, len(counts), (samples, len(counts)))
    sums = counts[draws].sum(axis=1)
    f1 = 200 * sums[..., 0] / (sums[..., 1] + sums[..., 2])
    return np.percentile(f1, [2.5, 97.5], axis=0)


def test_the_interval_of_unequal_sentences_is_the_bootstrap():
    counts = np.array([[20, 20, 20]] * 4 + [[0, 20, 20]] * 3 + [[10, 20, 40]])
    np.testing.assert_allclose(compute_interval(counts), bootstrap(counts))
    several = np.stack([counts, counts[::-1] * [1, 2, 1]], axis=1)
    np.testing.assert_allclose(compute_interval(several), bootstrap(several))
    np.testing.assert_allclose(compute_interval(counts, 70), bootstrap(counts, 70))


@pytest.mark.parametrize(("correct", "count"), [(0, 4), (4, 4), (2, 3), (1, 1)])
def test_the_interval_of_equal_sentences_is_that_of_a_proportion(correct, count):
    sentences = 6
    n, p, z = sentences * count, correct / count, 1.96
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    expected = np.clip([100 * (center - margin), 100 * (center + margin)], 0, 100)
    counts = np.array([[correct, count, count]] * sentences)
    np.testing.assert_allclose(compute_interval(counts), expected, atol=1e-9)
    both = np.stack([counts, [[0, 0, 0]] * sentences], axis=1)
    np.testing.assert_allclose(compute_interval(both)[:, 0], expected, atol=1e-9)
    assert compute_interval(both)[:, 1].tolist() == [0, 0], "nothing to score"


def test_gold_and_predicted_must_have_equal_length():
    with pytest.raises(ValueError):
        score_slots([sentence(A)], [[A], [A]])
    with pytest.raises(ValueError):
        slot_f1([sentence(A)], [])
    with pytest.raises(ValueError):
        intent_accuracy([sentence(A)], [])
    with pytest.raises(ValueError):
        score_intents([sentence(A)] * 2, [[A]], ["a", "b"])


def test_result_as_json():
    result = score_slots([sentence(A)], [[A]]).to_json()
    assert result["overall"] == {"precision": 100, "recall": 100, "f1": 100, "support": 1}
    assert "seqeval" in result["mode"] and result["unknown_slots"] == 0
    assert "intent" not in result
    scored = score_slots([sentence(A)], [[A]])
    scored.intent = score_intents([sentence(A)], [[A]], [None])
    assert scored.to_json()["intent"]["frame_accuracy"] == 100


def test_intents_of_single_sentences():
    gold = [Sentence.from_tokens(["w"] * 4, slots, "a") for slots in ([A], None)]
    assert [intent_accuracy([gold[0]], [intent]) for intent in ("a", "b")] == [100, 0]
    for slots, expected in (([A], 100), ([], 0), ([B], 0)):
        assert score_intents(gold[:1], [slots], ["a"]).frame_accuracy == expected
    for slots, expected in (([], 100), ([A], 0)):
        assert score_intents(gold[1:], [slots], ["a"]).frame_accuracy == expected


def test_intents_are_compared_as_sets_and_frames_with_slots():
    cases = [
        ("a", "a", [A], [A]),
        ("a#b", "b#a", [A], []),
        ("a#b", "a", [A], [A]),
        ("b", "a#b", [], []),
        ("c", None, [], []),
        ("d", "d", [], []),
    ]
    gold = [Sentence.from_tokens(["w"] * 4, slots, intent) for intent, _, slots, _ in cases]
    predicted, intents = [case[3] for case in cases], [case[1] for case in cases]
    result = score_intents(gold, predicted, intents)
    assert result.accuracy == pytest.approx(50) == intent_accuracy(gold, intents)
    assert result.frame_accuracy == pytest.approx(100 * 2 / 6)
    assert list(result.intents) == ["a", "b", "c", "d"]
    a, b, c, _ = result.intents.values()
    assert (a.precision, a.recall, a.support) == (pytest.approx(75), 100, 3)
    assert (b.precision, b.recall, b.support) == (100, pytest.approx(200 / 3), 3)
    assert (c.precision, c.recall, c.f1, c.support) == (0, 0, 0, 1)
    assert (result.overall.precision, result.overall.recall) == (
        pytest.approx(600 / 7),
        pytest.approx(75),
    )
