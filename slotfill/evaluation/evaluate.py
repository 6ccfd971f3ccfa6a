"""Evaluation: tag labelled sentences and score the result."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from slotfill.data.sentence import Sentence, intent_names
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError
from slotfill.evaluation.calibration import (
    intent_correctness,
    measure_calibration,
    slot_correctness,
)
from slotfill.evaluation.errors import count_errors
from slotfill.evaluation.metrics import (
    EvaluationResult,
    intent_accuracy,
    score_intents,
    score_slots,
    slot_f1,
)
from slotfill.inference.calibration import UNCALIBRATED, Calibration
from slotfill.inference.engine import Engine
from slotfill.inference.tagging import Predictions, predict


def validation_metrics(
    model: Engine, vocab: Vocab, sentences: Sequence[Sentence]
) -> dict[str, float | None]:
    """Return the F1 of slots and the accuracy of intents.

    Both are None without sentences; the accuracy also if `model` predicts no intents.
    """
    if not sentences:
        return {"valid_f1": None, "valid_intents": None}
    slots, intents, _ = predict(model, vocab, sentences)
    return {
        "valid_f1": slot_f1(sentences, slots),
        "valid_intents": intent_accuracy(sentences, intents) if vocab.intents else None,
    }


def evaluate(
    model: Engine,
    vocab: Vocab,
    sentences: Sequence[Sentence],
    calibration: Calibration = UNCALIBRATED,
) -> EvaluationResult:
    """Return the scores of `model` on labelled `sentences`, and what in them is out of vocabulary.

    Only predictions that reach the thresholds of `calibration` count. Intents are scored if `model`
    predicts them and any sentence has one. Raises DataError if another sentence has none.
    """
    predictions = predict(model, vocab, sentences, calibration)
    plain = predictions
    if calibration.has_temperatures:
        plain = predict(model, vocab, sentences, UNCALIBRATED)
    sure = predictions.above_thresholds(calibration)
    result = score_predictions(vocab, sentences, sure)
    result.left_out = sum(map(len, predictions.slots)) - sum(map(len, sure.slots))
    judged, correct = slot_correctness(sentences, predictions.slots)
    result.calibration = measure_calibration(
        predictions.slot_confidences[judged], plain.slot_confidences[judged], correct
    )
    if result.intent:
        left_out = zip(predictions.intents, sure.intents, strict=True)
        result.intent.left_out = sum(before != after for before, after in left_out)
        result.intent.calibration = measure_calibration(
            predictions.intent_confidences,
            plain.intent_confidences,
            intent_correctness(sentences, predictions.intents),
        )
    return result


def score_predictions(
    vocab: Vocab, sentences: Sequence[Sentence], predictions: Predictions
) -> EvaluationResult:
    """Return the scores that `evaluate` returns, of `predictions` for `sentences`."""
    slots, intents, _ = predictions
    result = score_slots(sentences, slots)
    result.errors = count_errors(sentences, slots)
    tokens = chain.from_iterable(sentence.tokens for sentence in sentences)
    result.unknown_words = sum(not vocab.contains_token(token) for token in tokens)
    names = (slot.name for sentence in sentences for slot in sentence.slots or ())
    result.unknown_slots, result.unknown_names = _count_unknown(names, vocab.slot_names)
    if vocab.intents and any(sentence.intent for sentence in sentences):
        gold = [intent_names(sentence.intent) for sentence in sentences]
        if [] in gold:
            raise DataError(
                f"{sentences[gold.index([])].location}: the sentence has no intent, though others"
                " have one; add its intent"
            )
        result.intent = intent = score_intents(sentences, slots, intents)
        unknown = _count_unknown(chain.from_iterable(gold), vocab.intent_names)
        intent.unknown_intents, intent.unknown_names = unknown
    return result


def _count_unknown(names: Iterable[str], known: Collection[str]) -> tuple[int, list[str]]:
    """Return how many of `names` are not in `known`, and which, sorted."""
    unknown = [name for name in names if name not in known]
    return len(unknown), sorted(set(unknown))
