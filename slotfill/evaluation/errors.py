"""Errors of predicted slots: what kind they are, and of which slots and sentences.

A predicted slot is paired with at most one gold slot that it overlaps, and a gold slot with at most
one predicted slot (`align_slots`). Four scorings follow from it, of which only `strict` asks for
both the boundaries and the name:

    strict    name, first and last token are correct
    exact     the boundaries are correct, under any name
    type      the name is correct, and the slots overlap
    partial   they overlap, under any name: 1 if the boundaries are correct, else 1/2

Source: Chinchor & Sundheim 1993, "MUC-5 Evaluation Metrics"; Segura-Bedmar et al. 2013,
"SemEval-2013 Task 9"; computed as nervaluate does, against which the tests check it
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from slotfill.data.sentence import Confidence, Sentence, Slot, intent_names
from slotfill.data.vocab import Vocab
from slotfill.errors import format_count
from slotfill.evaluation.calibration import (
    ReliabilityBin,
    intent_correctness,
    reliability_curve,
    slot_correctness,
)
from slotfill.evaluation.metrics import PRFScore, compute_interval, compute_prf
from slotfill.inference.calibration import UNCALIBRATED, Calibration
from slotfill.inference.tagging import Predictions

ErrorType = Literal["type", "boundary", "both", "missed", "spurious"]
"""Wrong name; wrong boundaries; both; no predicted slot overlaps; no gold slot overlaps."""

ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)


class SlotPair(NamedTuple):
    """A gold slot and the predicted slot that is paired with it; None where there is none."""

    gold: Slot | None
    predicted: Slot | None

    @property
    def error(self) -> ErrorType | None:
        """The type of the error; None if the predicted slot is correct."""
        gold, predicted = self
        if gold is None or predicted is None:
            return "spurious" if gold is None else "missed"
        if gold.name == predicted.name:
            return None if gold == predicted else "boundary"
        return "type" if gold[1:] == predicted[1:] else "both"


@dataclass(frozen=True, slots=True)
class GroupScore:
    """The score of a group of slots, in percent."""

    score: PRFScore
    interval: tuple[float, float]
    """95 % interval of F1; see `compute_interval`."""


@dataclass(frozen=True, slots=True)
class TrainingSlots:
    """The slots of the training sentences."""

    names: Counter[str]
    """How many there are of each name."""
    values: dict[str, Counter[str]]
    """The names of the slots with the same value, which is in lower case."""

    @classmethod
    def from_sentences(cls, sentences: Iterable[Sentence]) -> TrainingSlots:
        """Count the slots of labelled `sentences`."""
        names, values = Counter[str](), defaultdict[str, Counter[str]](Counter)
        for sentence in sentences:
            for slot in sentence.slots or ():
                names[slot.name] += 1
                values[sentence.value(slot).lower()][slot.name] += 1
        return cls(names, dict(values))

    def labels(self, value: str) -> dict[str, int]:
        """Return how many slots of each name have this value, the most frequent name first."""
        return dict(self.values.get(value.lower(), Counter[str]()).most_common())


class SlotError(NamedTuple):
    """A slot that is not predicted correctly."""

    type: ErrorType
    gold: Slot | None
    predicted: Slot | None
    confidence: float | None
    """The probability of the predicted slot."""
    training: dict[str, int] | None
    """How many training slots of each name have the value of the predicted slot, or of the gold
    slot if there is none; None if the training sentences are not known."""


@dataclass(frozen=True, slots=True)
class WrongSentence:
    """A sentence whose slots or intents are not all correct."""

    sentence: Sentence
    """With the gold slots and the gold intent."""
    slots: list[Slot]
    """The predicted slots."""
    intent: str | None
    """The predicted intent; None if it is below its threshold."""
    confidences: Confidence
    """The probabilities of what is predicted."""
    errors: list[SlotError]
    """In the order of the text."""
    wrong_intent: bool
    """Whether the predicted intents are not the gold ones."""

    @property
    def confidence(self) -> float:
        """The probability of the predicted slots together, or of the intent if they are right."""
        reading, intent = self.confidences.reading, self.confidences.intent
        return reading if self.errors or intent is None else intent

    def to_json(self) -> list[dict[str, Any]]:
        """Return each error as JSON values: slots have character offsets, as in JSON lines."""
        sentence = self.sentence
        common = {
            "location": sentence.location,
            "text": sentence.text,
            "sentence_confidence": round(self.confidence, 4),
        }
        rows = [
            {
                "error": error.type,
                "gold": error.gold and sentence.slot_to_json(error.gold),
                "predicted": error.predicted and sentence.slot_to_json(error.predicted),
                "confidence": _round(error.confidence),
                "training": error.training,
                **common,
            }
            for error in self.errors
        ]
        if self.wrong_intent:
            intents = {"gold": sentence.intent, "predicted": self.intent}
            rows.append(
                {
                    "error": "intent",
                    **intents,
                    "confidence": _round(self.confidences.intent),
                    **common,
                }
            )
        return rows


def _round(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """The errors of predicted slots, and the scores of groups of slots."""

    schemes: dict[str, GroupScore]
    """The scores by scheme: strict, exact, type and partial."""
    slots: dict[str, GroupScore]
    """The strict score of each slot name."""
    groups: dict[str, dict[str, GroupScore]]
    """The strict scores of slots by a property, such as their length."""
    types: dict[str, Counter[ErrorType]]
    """By slot name, how many errors of each type: of the gold slot, or of a spurious one."""
    confusion: Counter[tuple[str, str]]
    """Pairs of slots by gold and predicted name, which is empty where there is no slot."""
    reliability: dict[str, list[ReliabilityBin]]
    """The reliability curves of the confidences of slots and intents."""
    training: TrainingSlots | None
    """None if the training sentences are not known."""
    wrong: list[WrongSentence]
    """The sentences with an error, the most confident first."""


def align_slots(gold: Sequence[Slot], predicted: Sequence[Slot]) -> list[SlotPair]:
    """Return the pairs of slots in the order of the text.

    Each predicted slot in turn takes, of the gold slots that it overlaps and that are free, the one
    of its name with the nearest boundaries, or else the first.
    """
    free = list(gold)
    pairs = []
    for slot in predicted:
        overlapping = list(filter(slot.overlaps, free))
        best = min(overlapping, key=lambda each: _distance(each, slot), default=None)
        if best is not None:
            free.remove(best)
        pairs.append(SlotPair(best, slot))
    pairs += [SlotPair(slot, None) for slot in free]
    return sorted(pairs, key=lambda pair: (pair.gold or pair.predicted or (0, 0))[1])


def count_errors(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> dict[str, int]:
    """Return the number of errors of each type in the `predicted` slots."""
    counts = Counter(
        pair.error
        for sentence, slots in zip(gold, predicted, strict=True)
        for pair in align_slots(sentence.slots or (), sentence.filter_known(slots))
    )
    return {error: counts[error] for error in ERROR_TYPES}


def _distance(gold: Slot, predicted: Slot) -> float:
    """Return how far the boundaries of slots of one name are apart; infinity if names differ."""
    if gold.name != predicted.name:
        return float("inf")
    return abs(gold.start - predicted.start) + abs(gold.end - predicted.end)


def _count_overlapping(gold: Sequence[Slot], predicted: Sequence[Slot]) -> int:
    """Return the largest number of pairs of slots that overlap, each slot in at most one."""
    count = first = second = 0
    while first < len(gold) and second < len(predicted):
        if gold[first].end <= predicted[second].start:
            first += 1
        elif predicted[second].end <= gold[first].start:
            second += 1
        else:
            count, first, second = count + 1, first + 1, second + 1
    return count


def score_schemes(
    gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]
) -> dict[str, GroupScore]:
    """Return the scores of the `predicted` slots by each scheme."""
    rows = []
    for sentence, slots in zip(gold, predicted, strict=True):
        own, slots = sentence.slots or [], sentence.filter_known(slots)
        exact = len({slot[1:] for slot in own} & {slot[1:] for slot in slots})
        names = sum(pair.error in (None, "boundary") for pair in align_slots(own, slots))
        partial = (exact + _count_overlapping(own, slots)) / 2
        correct = (len(set(own) & set(slots)), exact, names, partial)
        rows.append([(count, len(slots), len(own)) for count in correct])
    return _score(("strict", "exact", "type", "partial"), np.array(rows).reshape(-1, 4, 3))


def _score(names: Sequence[str], counts: np.ndarray) -> dict[str, GroupScore]:
    """Return the score of each group of slots, from their counts `(sentences, groups, 3)`."""
    low, high = compute_interval(counts)
    return {
        name: GroupScore(compute_prf(*total), (float(low[index]), float(high[index])))
        for index, (name, total) in enumerate(zip(names, counts.sum(axis=0).tolist(), strict=True))
    }


def _compute_reliability(
    gold: Sequence[Sentence], predictions: Predictions
) -> dict[str, list[ReliabilityBin]]:
    """Return the reliability curves of slots and intents, without those of no predictions."""
    curves = {}
    judged, correct = slot_correctness(gold, predictions.slots)
    if len(correct):
        curves["slots"] = reliability_curve(predictions.slot_confidences[judged], correct)
    if any(predictions.intents) and any(sentence.intent for sentence in gold):
        correct = intent_correctness(gold, predictions.intents)
        curves["intents"] = reliability_curve(predictions.intent_confidences, correct)
    return curves


Grouping = Callable[[Sentence, Slot], tuple[int, str]]
"""Returns the group of a slot of a sentence: its rank and its name."""


def score_groups(
    gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]], grouping: Grouping
) -> dict[str, GroupScore]:
    """Return the strict score of each group of slots, by rank and name.

    A predicted slot is in the group that it would be in as a gold slot.
    """
    rows = []
    for sentence, slots in zip(gold, predicted, strict=True):
        own, slots = sentence.slots or [], sentence.filter_known(slots)
        for each in (set(own).intersection(slots), slots, own):
            rows.append(Counter(grouping(sentence, slot) for slot in each))
    groups = sorted(set[tuple[int, str]]().union(*rows))
    counts = np.array([[row[group] for group in groups] for row in rows], np.int64)
    counts = counts.reshape(len(gold), 3, len(groups)).swapaxes(1, 2)
    return _score([name for _, name in groups], counts)


def _find_range(number: int, starts: Sequence[int], noun: str) -> tuple[int, str]:
    """Return the group of a number: the ranges begin at `starts`, and the last is open."""
    index = bisect_right(starts, number) - 1
    first = starts[index]
    if index == len(starts) - 1:
        return first, f"{first:,} {noun}s or more"
    last = starts[index + 1] - 1
    return first, format_count(first, noun) if first == last else f"{first:,} to {last:,} {noun}s"


def analyze_errors(
    gold: Sequence[Sentence],
    predictions: Predictions,
    vocab: Vocab,
    calibration: Calibration = UNCALIBRATED,
    training: TrainingSlots | None = None,
) -> ErrorAnalysis:
    """Return the errors of `predictions`, made with confidences, for `gold` sentences.

    Args:
        vocab: Has the words of the training sentences, and their intents if they are predicted.
        calibration: Its thresholds are those of the predictions that count.
        training: The slots of the training sentences, if known.
    """
    reliability = _compute_reliability(gold, predictions)
    slots, intents, confidences = predictions.above_thresholds(calibration)
    assert confidences is not None
    types: dict[str, Counter[ErrorType]] = {}
    confusion = Counter[tuple[str, str]]()
    wrong = []
    for sentence, own, intent, confidence in zip(gold, slots, intents, confidences, strict=True):
        errors = []
        probabilities = dict(zip(own, confidence.slots, strict=True))
        for pair in align_slots(sentence.slots or [], sentence.filter_known(own)):
            names = [slot.name if slot else "" for slot in pair]
            confusion[names[0], names[1]] += 1
            if pair.error:
                types.setdefault(names[0] or names[1], Counter())[pair.error] += 1
                slot = pair.predicted or pair.gold
                labels = training.labels(sentence.value(slot)) if training and slot else None
                probability = probabilities[pair.predicted] if pair.predicted else None
                errors.append(SlotError(pair.error, *pair, probability, labels))
        # An intent below its threshold is no answer, and so no error.
        wrong_intent = bool(vocab.intents and sentence.intent and intent) and (
            set(intent_names(intent)) != set(intent_names(sentence.intent))
        )
        if errors or wrong_intent:
            wrong.append(WrongSentence(sentence, own, intent, confidence, errors, wrong_intent))
    wrong.sort(key=lambda each: -each.confidence)
    return ErrorAnalysis(
        schemes=score_schemes(gold, slots),
        slots=score_groups(gold, slots, lambda _, slot: (0, slot.name)),
        groups={
            title: score_groups(gold, slots, grouping)
            for title, grouping in _list_groupings(vocab, training).items()
        },
        types=types,
        confusion=confusion,
        reliability=reliability,
        training=training,
        wrong=wrong,
    )


def _list_groupings(vocab: Vocab, training: TrainingSlots | None) -> dict[str, Grouping]:
    """Return the properties by which slots are grouped, each with its grouping."""

    def words(sentence: Sentence, slot: Slot) -> tuple[int, str]:
        known = all(map(vocab.contains_token, sentence.tokens[slot.start : slot.end]))
        return (0, "all in training") if known else (1, "some not in training")

    groupings: dict[str, Grouping] = {
        "slot length": lambda _, slot: _find_range(slot.end - slot.start, (1, 2, 3, 4, 5), "token"),
        "words of the slot": words,
        "sentence length": lambda sentence, _: _find_range(
            len(sentence.tokens), (1, 6, 11, 16, 21, 31), "token"
        ),
    }
    if training is not None:
        groupings["training slots of the name"] = lambda _, slot: _find_range(
            training.names[slot.name], (0, 1, 10, 100, 1000), "slot"
        )
    return groupings
