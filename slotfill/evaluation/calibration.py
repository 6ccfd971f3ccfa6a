"""Calibration: whether predictions of confidence p are right in p of all cases.

    P(y) ~ exp(score(y) / T), with T > 0 such that the negative log-likelihood of whether each
    prediction is correct is the smallest on valid

Each target is 0 or 1 a little smoothed (Platt), so that T stays finite where all are correct.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (temperature); Platt 1999,
"Probabilistic Outputs for Support Vector Machines" (targets); Nguyen & O'Connor 2015, "Posterior
calibration and exploratory analysis for natural language processing models" (equal-mass bins);
Bröcker & Smith 2007, "Increasing the Reliability of Reliability Diagrams" (ranges of the bins)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from slotfill.data.sentence import Sentence, Slot, intent_names
from slotfill.data.splits import MIN_VALID_LABELS
from slotfill.data.vocab import Vocab
from slotfill.errors import format_count
from slotfill.inference.calibration import UNCALIBRATED, Calibration
from slotfill.inference.engine import Engine
from slotfill.inference.tagging import tag_batches

BINS = 15
MAX_FITTED_SENTENCES = 1000
"""Sentences of valid that temperatures are fitted on, which is plenty for one number each."""


class ReliabilityBin(NamedTuple):
    """Predictions of similar confidence, and the share of them that is correct."""

    confidence: float
    """Their mean confidence."""
    accuracy: float
    low: float
    """The range that holds 95 % of the accuracies of such bins, if calibration is perfect."""
    high: float
    size: int
    """How many they are."""

    @property
    def is_in_range(self) -> bool:
        """Whether the accuracy is one that perfect calibration may have."""
        return self.low <= self.accuracy <= self.high


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """The expected calibration error of predictions, in percent."""

    error: float
    """The mean distance between confidence and accuracy, in bins of equally many predictions."""
    error_before: float
    """The same without temperature."""
    error_by_chance: float
    """The error that the same number of perfectly calibrated confidences has on average."""
    count: int
    """Predictions."""


def reliability_curve(confidences: np.ndarray, correct: np.ndarray) -> list[ReliabilityBin]:
    """Return predictions in bins of equal size, from the least confident to the most.

    `confidences` and whether each prediction is `correct` are `(predictions,)`.
    """
    curve = []
    for part in _bins(confidences):
        own, accuracy = confidences[part], float(correct[part].mean())
        curve.append(ReliabilityBin(float(own.mean()), accuracy, *_accuracy_range(own), len(part)))
    return curve


def _bins(confidences: np.ndarray) -> list[np.ndarray]:
    """Return the positions of predictions in bins of equal size, by their confidence."""
    parts = np.array_split(np.argsort(confidences, kind="stable"), BINS)
    return [part for part in parts if len(part)]


def _accuracy_range(confidences: np.ndarray) -> tuple[float, float]:
    """Return the central 95 % range of the accuracy of calibrated `confidences`.

    The number of errors has the Poisson binomial distribution. An interval of the accuracy instead,
    such as Wilson's, fails where confidences are near 1: a single error, which one bin in six has
    at a confidence of 0.997, puts all of it below.
    """
    count, wrong = len(confidences), np.nan_to_num(1 - confidences)
    limit = math.ceil(wrong.sum() + 10 * math.sqrt(wrong.sum()) + 10)  # More never happen.
    shares = np.ones(1)
    for each in wrong:
        shares = np.convolve(shares, (1 - each, each))[:limit]
    fewest, most = np.searchsorted(shares.cumsum(), (0.025, 0.975)).tolist()
    return (count - most) / count, (count - fewest) / count


def expected_calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error in percent; 0 without predictions."""
    error = sum(abs((confidences[part] - correct[part]).sum()) for part in _bins(confidences))
    return 100 * float(error) / max(len(confidences), 1)


def chance_error(confidences: np.ndarray) -> float:
    """Return the mean calibration error in percent if `confidences` are perfectly calibrated.

    The mean distance of an approximately normal number of correct predictions from its mean.
    """
    variances = confidences * (1 - confidences)
    deviations = [math.sqrt(2 / math.pi * variances[part].sum()) for part in _bins(confidences)]
    return 100 * sum(deviations) / max(len(confidences), 1)


def fit_temperature(confidences_at: Callable[[float], np.ndarray], correct: np.ndarray) -> float:
    """Return the temperature at which confidences fit best whether predictions are `correct`.

    `confidences_at` returns the confidences `(predictions,)` at a temperature.
    """
    right = int(correct.sum())
    wrong = len(correct) - right
    targets = np.where(correct, (right + 1) / (right + 2), 1 / (wrong + 2))

    @cache  # A finer grid has points of the one before it.
    def loss(log_temperature: float) -> float:
        confidences = confidences_at(math.exp(log_temperature)).clip(1e-6, 1 - 1e-6)
        likelihood = targets * np.log(confidences) + (1 - targets) * np.log1p(-confidences)
        return -float(likelihood.sum())

    # The least change first: it is kept if the loss is the same at all temperatures.
    offsets = sorted(range(-4, 5), key=abs)
    best, step = 0.0, math.log(2) / 2
    for _ in range(4):  # Ever finer grids, from 1/4 to 4 at first.
        best = min((best + step * offset for offset in offsets), key=loss)
        step /= 4
    return round(math.exp(best), 4)


def slot_correctness(
    gold: Sequence[Sentence], slots: Sequence[Sequence[Slot]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the predicted `slots` can be judged, and whether each of those is correct.

    The first, `(slots,)`, is False for slots that touch a token whose label is not known.
    """
    judged, correct = list[bool](), list[bool]()
    for sentence, own_slots in zip(gold, slots, strict=True):
        known = sentence.filter_known(own_slots)
        judged += [slot in known for slot in own_slots]
        correct += [slot in (sentence.slots or ()) for slot in known]
    return np.array(judged, bool), np.array(correct, bool)


def intent_correctness(gold: Sequence[Sentence], intents: Sequence[str | None]) -> np.ndarray:
    """Return whether the predicted intents of each sentence are correct, `(sentences,)`."""
    pairs = zip(gold, intents, strict=True)
    return np.array([set(intent_names(s.intent)) == set(intent_names(name)) for s, name in pairs])


def fit_calibration(
    engine: Engine, vocab: Vocab, sentences: Sequence[Sentence]
) -> tuple[Calibration, str]:
    """Return the temperatures that fit labelled `sentences`, and why any of them is 1.

    A temperature is 1 where fewer than `MIN_VALID_LABELS` slots or intents are predicted; the
    reason is empty if both are fitted.
    """
    if not sentences:
        return UNCALIBRATED, "there are no valid sentences"
    sample = sentences[:: max(1, math.ceil(len(sentences) / MAX_FITTED_SENTENCES))]
    batches = list(tag_batches(engine, vocab, sample))
    gold = [sample[index] for batch in batches for index in batch.indices]
    slots = [own for batch in batches for own in batch.slots]
    judged, slots_correct = slot_correctness(gold, slots)
    intents = [vocab.join_intents(ids) for batch in batches for ids in batch.intents]
    intents_correct = intent_correctness(gold, intents) if intents else np.array([], bool)

    def evaluate_slots(temperature: float) -> np.ndarray:
        rows = [batch.slot_confidences(vocab, temperature) for batch in batches]
        confidences = [each for row in rows for confidence in row for each in confidence.slots]
        return np.array(confidences)[judged]

    def evaluate_intents(temperature: float) -> np.ndarray:
        rows = [batch.intent_confidences(engine.is_multi_intent, temperature) for batch in batches]
        return np.array([each for row in rows for each in row])

    calibration, too_few = UNCALIBRATED, []
    if len(slots_correct) >= MIN_VALID_LABELS:
        temperature = fit_temperature(evaluate_slots, slots_correct)
        calibration = replace(calibration, slot_temperature=temperature)
    else:
        too_few.append(format_count(len(slots_correct), "slot"))
    if len(intents_correct) >= MIN_VALID_LABELS:
        temperature = fit_temperature(evaluate_intents, intents_correct)
        calibration = replace(calibration, intent_temperature=temperature)
    elif vocab.intents:
        too_few.append(format_count(len(intents_correct), "intent"))
    reason = f"{' and '.join(too_few)} predicted on valid, {MIN_VALID_LABELS} are needed"
    return calibration, reason if too_few else ""


def measure_calibration(
    confidences: np.ndarray, uncalibrated: np.ndarray, correct: np.ndarray
) -> CalibrationError | None:
    """Return the calibration error with and without temperature; None without predictions."""
    if not len(correct):
        return None
    # Rounded, so that engines whose scores differ in the last digits agree.
    error = round(expected_calibration_error(confidences, correct), 3)
    before = round(expected_calibration_error(uncalibrated, correct), 3)
    return CalibrationError(error, before, round(chance_error(confidences), 3), len(correct))
