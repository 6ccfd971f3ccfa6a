"""Errors of slots: their types, against nervaluate; groups, confusion, JSON."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.sentence import Confidence, Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.evaluation.errors import (
    ERROR_TYPES,
    TrainingSlots,
    align_slots,
    analyze_errors,
    count_errors,
    score_groups,
    score_schemes,
)
from slotfill.evaluation.metrics import score_slots
from slotfill.inference.calibration import Calibration
from slotfill.inference.tagging import Predictions

LENGTH = 10


@st.composite
def slots(draw: st.DrawFn) -> list[Slot]:
    """Return slots of a sentence, in order and without overlaps."""
    ends = sorted(draw(st.sets(st.integers(0, LENGTH), max_size=7)))
    names = draw(st.lists(st.sampled_from(["a", "b", ""]), min_size=7, max_size=7))
    spans = zip(ends, ends[1:], names, strict=False)
    return [Slot(name, start, end) for start, end, name in spans if name]


def sentence(own: list[Slot], length: int = LENGTH) -> Sentence:
    return Sentence.from_tokens([f"w{index}" for index in range(length)], own)


@settings(max_examples=30)
@given(st.lists(st.tuples(slots(), slots()), min_size=1, max_size=20))
def test_schemes_are_scored_as_nervaluate_scores_them(pairs):
    nervaluate = pytest.importorskip("nervaluate", reason="pip install '.[test]'")
    gold, predicted = map(list, zip(*pairs, strict=True))
    entities = [
        [[{"label": n, "start": start, "end": end - 1} for n, start, end in own] for own in side]
        for side in (gold, predicted)
    ]
    expected = nervaluate.Evaluator(*entities, tags=["a", "b"], loader="dict").evaluate()["overall"]
    found = score_schemes([sentence(own) for own in gold], predicted)
    for name, theirs in {"strict": "strict", "exact": "exact", "type": "ent_type"}.items() | {
        ("partial", "partial")
    }:
        score = found[name].score
        for measure in ("precision", "recall", "f1"):
            assert getattr(score, measure) == pytest.approx(
                100 * getattr(expected[theirs], measure)
            )


@given(slots(), slots())
def test_each_slot_is_in_one_pair_and_its_error_is_what_the_type_says(gold, predicted):
    pairs = align_slots(gold, predicted)
    assert [pair.gold for pair in pairs if pair.gold] == gold
    assert sorted(pair.predicted for pair in pairs if pair.predicted) == sorted(predicted)
    for pair in pairs:
        own, other = pair
        if own is None or other is None:
            assert pair.error == ("spurious" if own is None else "missed")
            continue
        assert own.start < other.end and other.start < own.end
        expected = {
            (True, True): None,
            (True, False): "boundary",
            (False, True): "type",
            (False, False): "both",
        }
        assert pair.error == expected[own.name == other.name, own[1:] == other[1:]]


@pytest.mark.parametrize(
    ("gold", "predicted", "errors"),
    [
        ([("a", 0, 2)], [("a", 0, 2)], [None]),
        ([("a", 0, 2)], [("b", 0, 2)], ["type"]),
        ([("a", 0, 2)], [("a", 0, 3)], ["boundary"]),
        ([("a", 0, 2)], [("b", 1, 2)], ["both"]),
        ([("a", 0, 2)], [], ["missed"]),
        ([], [("a", 0, 2)], ["spurious"]),
        ([("a", 0, 2)], [("a", 0, 1), ("a", 1, 2)], ["boundary", "spurious"]),
        ([("b", 0, 1), ("a", 1, 4)], [("a", 0, 4)], ["missed", "boundary"]),
        ([("a", 0, 4)], [("b", 0, 1), ("a", 1, 4)], ["both", "spurious"]),
    ],
)
def test_types_of_errors(gold, predicted, errors):
    pairs = align_slots([Slot(*slot) for slot in gold], [Slot(*slot) for slot in predicted])
    assert [pair.error for pair in pairs] == errors


@settings(max_examples=15)
@given(st.lists(st.tuples(slots(), slots()), min_size=1, max_size=5))
def test_groups_by_name_are_the_scores_of_evaluate(pairs):
    gold, predicted = map(list, zip(*pairs, strict=True))
    sentences = [sentence(own) for own in gold]
    scores = score_slots(sentences, predicted)
    groups = score_groups(sentences, predicted, lambda _, slot: (0, slot.name))
    assert {name: group.score for name, group in groups.items()} == scores.slots
    total = score_groups(sentences, predicted, lambda *_: (0, "all"))
    for group in total.values():
        assert group.score == scores.overall
        assert group.interval == pytest.approx(scores.f1_interval)


def analysis(training: TrainingSlots | None = None):
    """Return the analysis of three sentences, with one error of each type and a wrong intent."""
    gold = [
        sentence([Slot("a", 0, 1), Slot("b", 2, 4), Slot("a", 5, 6), Slot("b", 8, 9)]),
        sentence([Slot("a", 0, 1)]),
        sentence([Slot("b", 0, 1)]),
    ]
    for each, intent in zip(gold, ("x", "y", "x"), strict=True):
        each.intent = intent
    predicted = [
        [Slot("b", 0, 1), Slot("b", 2, 3), Slot("b", 5, 7), Slot("a", 7, 8)],
        [Slot("a", 0, 1)],
        [Slot("b", 0, 1)],
    ]
    confidences = [Confidence([0.9, 0.8, 0.7, 0.6], 0.5, 0.9), *[Confidence([0.95], 0.95, 0.6)] * 2]
    vocab = Vocab.from_sentences(gold[:1], "iob2", intents=True)
    vocab.intents["y"] = 1
    del vocab.tokens["w2"]
    return analyze_errors(
        gold, Predictions(predicted, ["x", "x", "x"], confidences), vocab, training=training
    )


def test_an_analysis_counts_types_and_confusions_and_lists_wrong_sentences_by_confidence():
    found = analysis()
    types = {name: dict(counts) for name, counts in found.types.items()}
    assert types == {"a": {"type": 1, "both": 1, "spurious": 1}, "b": {"boundary": 1, "missed": 1}}
    assert sum(map(sum, (counts.values() for counts in types.values()))) == len(ERROR_TYPES)
    gold = [found.wrong[-1].sentence, sentence([Slot("a", 0, 1)])]
    counts = count_errors(gold, [found.wrong[-1].slots, [Slot("a", 0, 1)]])
    assert counts == dict.fromkeys(ERROR_TYPES, 1)
    assert found.confusion == {
        **{("a", "b"): 2, ("b", "b"): 2, ("", "a"): 1, ("b", ""): 1, ("a", "a"): 1}
    }
    assert [wrong.confidence for wrong in found.wrong] == [0.6, 0.5]
    assert [wrong.wrong_intent for wrong in found.wrong] == [True, False]
    assert "training slots of the name" not in found.groups


def test_an_analysis_groups_slots():
    found = analysis(TrainingSlots(Counter(a=1, b=12), {}))
    supports = {
        title: {name: group.score.support for name, group in groups.items()}
        for title, groups in found.groups.items()
    }
    assert supports == {
        "slot length": {"1 token": 5, "2 tokens": 1},
        "words of the slot": {"all in training": 5, "some not in training": 1},
        "sentence length": {"6 to 10 tokens": 6},
        "training slots of the name": {"1 to 9 slots": 3, "10 to 99 slots": 3},
    }


def test_an_error_tells_how_training_labels_the_same_value():
    training = [
        Sentence.from_tokens(["w2"], [Slot("a", 0, 1)]),
        Sentence.from_tokens(["W0", "x"], [Slot("c", 0, 1), Slot("a", 1, 2)]),
        *[Sentence.from_tokens(["w0", "w5"], [Slot("b", 0, 1), Slot("a", 1, 2)])] * 2,
    ]
    found = analysis(TrainingSlots.from_sentences(training))
    (wrong,) = [wrong for wrong in found.wrong if wrong.errors]
    assert [(error.type, error.training) for error in wrong.errors] == [
        ("type", {"b": 2, "c": 1}),
        ("boundary", {"a": 1}),
        ("both", {}),
        ("spurious", {}),
        ("missed", {}),
    ]
    assert all(error.training is None for wrong in analysis().wrong for error in wrong.errors)


def test_an_analysis_has_the_reliability_of_slots_and_intents():
    curves = analysis().reliability
    assert [(each.confidence, each.accuracy) for each in curves["slots"]] == [
        *((each, 0.0) for each in (0.6, 0.7, 0.8, 0.9)),
        *[(0.95, 1.0)] * 2,
    ]
    assert sum(each.size for each in curves["intents"]) == 3


def test_what_is_predicted_where_the_label_is_not_known_is_no_error():
    gold = sentence([Slot("a", 0, 1)])
    gold.unknown = [(4, 6)]
    slots = [Slot("a", 0, 1), Slot("b", 3, 5)]
    predictions = Predictions([slots], [None], [Confidence([0.9, 0.9], 0.8)])
    found = analyze_errors([gold], predictions, Vocab.from_sentences([gold], "iob2"))
    assert found.wrong == [] and not found.types and set(found.slots) == {"a"}
    assert all(group.score.f1 == 100 for group in found.schemes.values())


def test_thresholds_leave_out_what_is_less_sure():
    gold = sentence([Slot("a", 0, 1)])
    predictions = Predictions([[Slot("b", 3, 5)]], [None], [Confidence([0.4], 0.3)])
    vocab = Vocab.from_sentences([gold], "iob2")
    types = [
        dict(analyze_errors([gold], predictions, vocab, Calibration(threshold=each)).types)
        for each in (0.4, 0.5)
    ]
    assert types == [{"a": {"missed": 1}, "b": {"spurious": 1}}, {"a": {"missed": 1}}]


def test_an_intent_below_its_threshold_is_no_error():
    gold = sentence([Slot("a", 0, 1)])
    gold.intent = "x"
    predictions = Predictions([[Slot("a", 0, 1)]], ["y"], [Confidence([0.9], 0.9, 0.6)])
    vocab = Vocab.from_sentences([gold], "iob2", intents=True)
    wrong = [
        analyze_errors([gold], predictions, vocab, Calibration(intent_threshold=each)).wrong
        for each in (0.6, 0.7)
    ]
    assert [len(each) for each in wrong] == [1, 0]


def test_errors_as_json():
    rows = [row for wrong in analysis().wrong for row in wrong.to_json()]
    by_error = {row["error"]: row for row in rows}
    assert set(by_error) == {*ERROR_TYPES, "intent"} and len(rows) == 6
    assert by_error["boundary"]["gold"] == {"name": "b", "value": "w2 w3", "start": 6, "end": 11}
    assert by_error["boundary"]["predicted"] == {"name": "b", "value": "w2", "start": 6, "end": 8}
    assert by_error["boundary"]["confidence"] == 0.8
    assert by_error["boundary"]["sentence_confidence"] == 0.5
    assert by_error["missed"]["predicted"] is by_error["missed"]["confidence"] is None
    assert by_error["spurious"]["gold"] is None
    assert (by_error["intent"]["gold"], by_error["intent"]["predicted"]) == ("y", "x")


def test_rows_of_a_sentence_stand_together():
    rows = [
        (wrong.sentence.text, row["text"]) for wrong in analysis().wrong for row in wrong.to_json()
    ]
    assert all(text == own for text, own in rows) and len(list(groupby(rows))) == 1
