"""The thresholds of a run: found on its valid sentences, and stored in its calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from slotfill.data.sentence import Sentence
from slotfill.data.splits import read_split, split_names
from slotfill.errors import RunError, UsageError, format_count
from slotfill.evaluation.calibration import intent_correctness, slot_correctness
from slotfill.evaluation.metrics import PRFScore, compute_prf
from slotfill.evaluation.thresholds import ThresholdScores, find_threshold, score_thresholds
from slotfill.inference.calibration import Calibration
from slotfill.inference.tagging import Predictions, predict
from slotfill.runs.evaluate import check_own_sentences
from slotfill.runs.load import Run
from slotfill.runs.manifest import CALIBRATION

LEVELS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""The thresholds that are scored besides those that are found."""

MIN_SLOTS = 20
"""Predicted slots of a name on valid from which it has a threshold of its own."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds that reach a precision on valid."""

    kind: Literal["slot", "intent"]
    """What they are thresholds of."""
    sentences: int
    predicted: int
    """Slots or intents that are predicted where labels are known."""
    before: Calibration
    """The calibration of the run."""
    calibration: Calibration
    """The same with these thresholds."""
    general: list[ThresholdScores]
    """The scores of all slots or intents at the threshold that was found, and at others."""
    by_slot: dict[str, ThresholdScores]
    """The scores of the slots that have a threshold of their own."""
    score_before: PRFScore
    """The score of all together, each with the threshold that the run had for it."""
    score: PRFScore
    """The same with these thresholds."""

    @property
    def changes(self) -> str:
        """What the thresholds of the run become: `threshold 0.5 -> 0.9, room 0.6 -> 0.7`."""
        old, new = map(self._thresholds, (self.before, self.calibration))
        parts = []
        for name in {**new, **old}:
            before, after = (f"{each[name]:g}" if name in each else "none" for each in (old, new))
            if not old.get(name):
                parts.append(f"{name} {after}")
            elif before == after:
                parts.append(f"{name} {after} as before")
            else:
                parts.append(f"{name} {before} -> {after}")
        return ", ".join(parts)

    def _thresholds(self, calibration: Calibration) -> dict[str, float]:
        if self.kind == "intent":
            return {"intent_threshold": calibration.intent_threshold}
        return {"threshold": calibration.threshold, **calibration.thresholds}

    def to_json(self) -> dict[str, Any]:
        """Return the thresholds and their scores as JSON values."""
        found = asdict(self.calibration)
        keys = ["intent_threshold"] if self.kind == "intent" else ["threshold", "thresholds"]
        return {
            **{key: found[key] for key in keys},
            "before": asdict(self.score_before),
            "after": asdict(self.score),
            "scores": [row._asdict() for row in self.general],
            "slots": {name: row._asdict() for name, row in self.by_slot.items()},
        }


class _Judged(NamedTuple):
    """Predicted slots or intents whose labels are known, `(predictions,)` each."""

    names: np.ndarray
    confidences: np.ndarray
    correct: np.ndarray
    gold: Counter[str]
    """How many have each name in the labels."""

    def score(self, thresholds: Iterable[float]) -> PRFScore:
        """Return the score of those that reach their thresholds."""
        kept = self.confidences >= np.array([*thresholds])
        return compute_prf(int(self.correct[kept].sum()), int(kept.sum()), self.gold.total())


def find_thresholds(
    run: Run, precision: float, *, per_slot: bool = False, intents: bool = False
) -> Thresholds:
    """Return the lowest thresholds that reach `precision` on the valid sentences of `run`.

    They are those of slots, or of `intents`. If `per_slot`, each name with `MIN_SLOTS` predicted
    slots has its own, unless none reaches it; these replace those of the run, which are kept
    otherwise. Raises UsageError if the run has no valid sentences or no intents, and RunError if
    none reaches it for all together.
    """
    data = run.config.data
    check_own_sentences(run, data, "valid", "put it back, since thresholds need its sentences")
    if "valid" not in split_names(data):
        raise UsageError(
            f"{run.files.path}: the run has no valid sentences, which thresholds need; train it"
            " again with data.valid=FILE, or data.holdout=0.1"
        )
    if intents and not run.vocab.intents:
        raise UsageError(f"{run.files.path}: the run has learned no intents")
    kind: Literal["slot", "intent"] = "intent" if intents else "slot"
    sentences = read_split(data, "valid", tokenizer=run.vocab.tokenizer).sentences
    predictions = predict(run.engine, run.vocab, sentences, run.calibration)
    judge = _judge_intents if intents else _judge_slots
    judged = judge(sentences, predictions)
    names, confidences, correct, gold = judged
    general = find_threshold(confidences, correct, precision)
    if general is None:
        raise RunError(
            f"no threshold reaches a precision of {precision:g} on valid"
            f" ({format_count(len(correct), f'predicted {kind}')})"
        )
    by_slot = {}
    for name in sorted(set(names)) if per_slot else ():
        own = names == name
        own_threshold = find_threshold(confidences[own], correct[own], precision)
        if own.sum() >= MIN_SLOTS and own_threshold is not None:
            (by_slot[str(name)],) = score_thresholds(
                confidences[own], correct[own], gold[name], [own_threshold]
            )
    before, after = run.calibration, replace(run.calibration, intent_threshold=general)
    scores = [judged.score([each.intent_threshold] * len(names)) for each in (before, after)]
    if not intents:
        found = {name: row.threshold for name, row in by_slot.items()}
        thresholds = found if per_slot else before.thresholds
        after = replace(before, threshold=general, thresholds=thresholds)
        scores = [judged.score(map(each.slot_threshold, names)) for each in (before, after)]
    levels = sorted({*LEVELS, general})
    rows = score_thresholds(confidences, correct, gold.total(), levels)
    return Thresholds(kind, len(sentences), len(correct), before, after, rows, by_slot, *scores)


def _judge_slots(sentences: Sequence[Sentence], predictions: Predictions) -> _Judged:
    judged, correct = slot_correctness(sentences, predictions.slots)
    names = np.array([slot.name for slots in predictions.slots for slot in slots])
    gold = Counter(slot.name for sentence in sentences for slot in sentence.slots or ())
    return _Judged(names[judged], predictions.slot_confidences[judged], correct, gold)


def _judge_intents(sentences: Sequence[Sentence], predictions: Predictions) -> _Judged:
    judged = np.array([sentence.intent is not None for sentence in sentences])
    judged &= np.array([intent is not None for intent in predictions.intents])
    correct = intent_correctness(sentences, predictions.intents)
    gold = Counter(sentence.intent for sentence in sentences if sentence.intent)
    names = np.array(predictions.intents)
    return _Judged(names[judged], predictions.intent_confidences[judged], correct[judged], gold)


def store_calibration(run: Run, calibration: Calibration) -> None:
    """Write `calibration` into the folder of `run`."""
    run.files.replace({CALIBRATION: calibration.to_json().encode()})
    run.calibration = calibration
