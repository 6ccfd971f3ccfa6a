"""Precision, recall and F1 of predicted slots and intents.

A slot is correct if its name, its first and its last token are correct. This is seqeval's default
mode on IOB2 tags, against which the tests check it. The intents of a sentence are correct if they
are exactly the gold ones, in any order.

Source: Nakayama 2018, seqeval; the counts: Tjong Kim Sang & De Meulder 2003 (conlleval)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, Slot, intent_names
from slotfill.evaluation.calibration import CalibrationError

MODE = "seqeval default mode, micro average over exact slots"
INTENT_MODE = "exact match of the set of intents; a frame also needs exactly the gold slots"

_CHUNK = 50
"""Samples that are drawn at a time."""


@dataclass(frozen=True, slots=True)
class PRFScore:
    """Precision, recall and F1 in percent, and the number of gold slots or intents."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(slots=True)
class IntentResult:
    """The scores of intents on labelled sentences; rates in percent."""

    accuracy: float
    """Sentences whose intents are correct."""
    frame_accuracy: float
    """Sentences whose intents and slots are all correct."""
    overall: PRFScore
    """Micro average over all intents."""
    intents: dict[str, PRFScore]
    """The score of each intent."""
    unknown_intents: int = 0
    """Gold intents that do not occur in training."""
    unknown_names: list[str] = field(default_factory=list)
    """Their names."""
    left_out: int = 0
    """Predicted intents below their threshold, which count as not predicted."""
    mode: str = INTENT_MODE
    """How intents are counted."""
    calibration: CalibrationError | None = None
    """Of the confidences of intents; None without predictions."""


@dataclass(slots=True)
class EvaluationResult:
    """The scores of a model on labelled sentences; rates in percent."""

    overall: PRFScore
    """Micro average over all slots."""
    f1_interval: tuple[float, float]
    """95 % interval of F1; see `compute_interval`."""
    macro_f1: float
    """Mean F1 of the slot names that occur in the gold slots."""
    tag_accuracy: float
    """Tokens whose IOB2 tag is correct."""
    sentence_accuracy: float
    """Sentences whose slots are exactly the gold ones."""
    slots: dict[str, PRFScore]
    """The score of each slot name."""
    sentences: int
    tokens: int
    errors: dict[str, int] = field(default_factory=dict)
    """Slots that are not predicted correctly by type of error; see `count_errors`."""
    unknown_words: int = 0
    """Tokens that do not occur in training."""
    unknown_slots: int = 0
    """Gold slots whose name does not occur in training; the model misses them all."""
    unknown_names: list[str] = field(default_factory=list)
    """Their names."""
    left_out: int = 0
    """Predicted slots below their threshold, which count as not predicted."""
    mode: str = MODE
    """How slots are counted."""
    calibration: CalibrationError | None = None
    """Of the confidences of slots; None without predictions."""
    intent: IntentResult | None = None
    """The scores of intents; None if they are not learned or not labelled."""

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values, without `intent` if it is None."""
        result = asdict(self)
        if self.intent is None:
            del result["intent"]
        return result


def compute_f1(counts: np.ndarray) -> np.ndarray:
    """Return F1 in percent of `(..., 3)` counts: true positives, predicted, gold."""
    true_positives, predicted, gold = np.moveaxis(counts, -1, 0)
    return 200 * true_positives / np.maximum(predicted + gold, 1)


def slot_counts(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> np.ndarray:
    """Return the counts of each sentence, `(sentences, 3)`: true positives, predicted, gold.

    Predicted slots that touch a token whose label is not known are left out.
    """
    rows = []
    for sentence, slots in zip(gold, predicted, strict=True):
        gold_slots, known = sentence.slots or (), sentence.filter_known(slots)
        rows.append((len(set(gold_slots).intersection(known)), len(known), len(gold_slots)))
    return np.array(rows, np.int64).reshape(-1, 3)


def slot_f1(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> float:
    """Return the micro-averaged F1 of the `predicted` slots in percent."""
    return float(compute_f1(slot_counts(gold, predicted).sum(axis=0)))


def score_slots(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> EvaluationResult:
    """Return the scores of the `predicted` slots of `gold` sentences."""
    counts = slot_counts(gold, predicted)
    true_positives, predicted_names, gold_names = Counter[str](), Counter[str](), Counter[str]()
    correct_tags = exact_sentences = 0
    for sentence, slots in zip(gold, map(Sentence.filter_known, gold, predicted), strict=True):
        gold_slots = sentence.slots or []
        true_positives.update(slot.name for slot in set(gold_slots).intersection(slots))
        predicted_names.update(slot.name for slot in slots)
        gold_names.update(slot.name for slot in gold_slots)
        length = len(sentence.tokens)
        gold_tags, tags = (slots_to_tags(s, length, "iob2") for s in (gold_slots, slots))
        correct_tags += sum(map(str.__eq__, gold_tags, tags))
        exact_sentences += gold_tags == tags
    tokens = sum(len(sentence.tokens) for sentence in gold)
    # Neither gold nor predicted slots are left there, so that both tags are O.
    unknown = sum(end - start for sentence in gold for start, end in sentence.unknown)
    low, high = compute_interval(counts).tolist()
    slot_scores = _prf_by_name(true_positives, predicted_names, gold_names)
    return EvaluationResult(
        overall=compute_prf(*counts.sum(axis=0).tolist()),
        f1_interval=(low, high),
        macro_f1=fmean([score.f1 for score in slot_scores.values() if score.support] or [0.0]),
        tag_accuracy=100 * (correct_tags - unknown) / max(tokens - unknown, 1),
        sentence_accuracy=100 * exact_sentences / max(len(gold), 1),
        slots=slot_scores,
        sentences=len(gold),
        tokens=tokens,
    )


def score_intents(
    gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]], intents: Sequence[str | None]
) -> IntentResult:
    """Return the scores of the predicted `intents`, and of frames with the `predicted` slots."""
    pairs = _intent_pairs(gold, intents)
    true_positives = Counter(name for pair in pairs for name in set.intersection(*pair))
    predicted_names = Counter(name for _, names in pairs for name in names)
    gold_names = Counter(name for names, _ in pairs for name in names)
    correct_frames = sum(
        gold_set == predicted_set and set(sentence.slots or ()) == set(slots)
        for (gold_set, predicted_set), sentence, slots in zip(pairs, gold, predicted, strict=True)
    )
    return IntentResult(
        accuracy=intent_accuracy(gold, intents),
        frame_accuracy=100 * correct_frames / max(len(gold), 1),
        overall=compute_prf(true_positives.total(), predicted_names.total(), gold_names.total()),
        intents=_prf_by_name(true_positives, predicted_names, gold_names),
    )


def intent_accuracy(gold: Sequence[Sentence], intents: Sequence[str | None]) -> float:
    """Return the percentage of sentences whose predicted `intents` are correct."""
    pairs = _intent_pairs(gold, intents)
    return 100 * sum(gold_set == intent_set for gold_set, intent_set in pairs) / max(len(gold), 1)


def _intent_pairs(
    gold: Sequence[Sentence], intents: Sequence[str | None]
) -> list[tuple[set[str], set[str]]]:
    """Return the gold and the predicted intents of each sentence."""
    return [
        (set(intent_names(sentence.intent)), set(intent_names(intent)))
        for sentence, intent in zip(gold, intents, strict=True)
    ]


def compute_prf(true_positives: float, predicted: int, gold: int) -> PRFScore:
    """Return the score of these counts; a partly correct slot may count as part of one."""
    return PRFScore(
        precision=100 * true_positives / max(predicted, 1),
        recall=100 * true_positives / max(gold, 1),
        f1=float(compute_f1(np.array((true_positives, predicted, gold)))),
        support=int(gold),
    )


def _prf_by_name(
    true_positives: Counter[str], predicted: Counter[str], gold: Counter[str]
) -> dict[str, PRFScore]:
    names = sorted(predicted | gold)
    return {name: compute_prf(true_positives[name], predicted[name], gold[name]) for name in names}


def compute_interval(counts: np.ndarray, samples: int = 1000) -> np.ndarray:
    """Return the 95 % interval of F1 over sentences, `(2, ...)`: at each end the wider of two.

    The percentile bootstrap (Efron 1979) is too narrow for few sentences: without an error it has
    no width. The interval of a proportion, here of F1 among (predicted + gold) / 2 labels, is right
    for few, but takes the errors of a sentence for independent (Wilson 1927).

    Args:
        counts: `(sentences, ..., 3)`, as `compute_f1` takes them.
    """
    random = np.random.default_rng(0)
    size = len(counts)
    counts = counts.astype(np.float64)
    scores = []
    for start in range(0, samples, _CHUNK):
        draws = random.integers(0, size, (min(_CHUNK, samples - start), size))
        # One histogram of all samples: each has its own range of bins.
        bins = draws + size * np.arange(len(draws))[:, None]
        weights = np.bincount(bins.ravel(), minlength=draws.size).reshape(draws.shape)
        scores.append(compute_f1(np.tensordot(weights.astype(np.float64), counts, 1)))
    low, high = np.percentile(np.concatenate(scores), [2.5, 97.5], axis=0)
    wilson_low, wilson_high = _wilson_interval(counts.sum(axis=0))
    return np.stack([np.minimum(low, wilson_low), np.maximum(high, wilson_high)])


def _wilson_interval(totals: np.ndarray) -> np.ndarray:
    """Return Wilson's 95 % interval of F1 of `(..., 3)` counts, `(2, ...)`; 0 without labels."""
    labels = totals[..., 1:].sum(axis=-1) / 2
    share = compute_f1(totals) / 100
    z = 1.96
    scale = np.where(labels > 0, 100 / (labels + z**2), 0)
    center = share * labels + z**2 / 2
    margin = z * np.sqrt(share * (1 - share) * labels + z**2 / 4)
    return np.clip([scale * (center - margin), scale * (center + margin)], 0, 100)
