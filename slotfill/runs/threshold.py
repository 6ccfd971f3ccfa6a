"""The thresholds of a run: found on its valid sentences, and stored in its calibration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slotfill.data.splits import read_split, split_names
from slotfill.errors import RunError, UsageError, format_count
from slotfill.evaluation.calibration import slot_correctness
from slotfill.evaluation.thresholds import ThresholdScores, find_threshold, score_thresholds
from slotfill.inference.calibration import Calibration
from slotfill.inference.tagging import predict
from slotfill.runs.load import Run
from slotfill.runs.manifest import CALIBRATION

LEVELS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""The thresholds that are scored besides those that are found."""

MIN_SLOTS = 20
"""Predicted slots of a name on valid from which it has a threshold of its own."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds that reach a precision on valid."""

    sentences: int
    slots: int
    """Slots that are predicted where labels are known."""
    before: Calibration
    """The calibration of the run."""
    calibration: Calibration
    """The same with these thresholds."""
    general: list[ThresholdScores]
    """The scores of all slots at the threshold that was found, and at others."""
    by_slot: dict[str, ThresholdScores]
    """The scores of the slots that have a threshold of their own."""

    @property
    def changes(self) -> str:
        """What the thresholds of the run become: `threshold 0.5 -> 0.9, room 0.6 -> 0.7`."""
        old, new = (
            {"threshold": each.threshold, **each.thresholds}
            for each in (self.before, self.calibration)
        )
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

    def to_json(self) -> dict[str, Any]:
        """Return the thresholds and their scores as JSON values."""
        return {
            "threshold": self.calibration.threshold,
            "thresholds": dict(self.calibration.thresholds),
            "scores": [row._asdict() for row in self.general],
            "slots": {name: row._asdict() for name, row in self.by_slot.items()},
        }


def find_thresholds(run: Run, precision: float, *, per_slot: bool = False) -> Thresholds:
    """Return the lowest thresholds of slots that reach `precision` on the valid sentences of `run`.

    If `per_slot`, each name with `MIN_SLOTS` predicted slots has its own, unless none reaches it;
    these replace those of the run, which are kept otherwise. Raises UsageError if the run has no
    valid sentences, and RunError if none reaches it for all slots together.
    """
    if "valid" not in split_names(run.config.data):
        raise UsageError(
            f"{run.files.path}: the run has no valid sentences, which thresholds need; train it"
            " again with data.valid=FILE, or data.holdout=0.1"
        )
    sentences = read_split(run.config.data, "valid", tokenizer=run.tokenizer).sentences
    predictions = predict(run.engine, run.vocab, sentences, run.calibration)
    judged, correct = slot_correctness(sentences, predictions.slots)
    confidences = predictions.slot_confidences[judged]
    names = np.array([slot.name for slots in predictions.slots for slot in slots])[judged]
    gold = Counter(slot.name for sentence in sentences for slot in sentence.slots or ())
    general = find_threshold(confidences, correct, precision)
    if general is None:
        raise RunError(
            f"no threshold reaches a precision of {precision:g} on valid"
            f" ({format_count(len(correct), 'predicted slot')})"
        )
    levels = sorted({*LEVELS, general})
    by_slot = {}
    for name in sorted(set(names)) if per_slot else ():
        own = names == name
        own_threshold = find_threshold(confidences[own], correct[own], precision)
        if own.sum() >= MIN_SLOTS and own_threshold is not None:
            (by_slot[str(name)],) = score_thresholds(
                confidences[own], correct[own], gold[name], [own_threshold]
            )
    found = {name: row.threshold for name, row in by_slot.items()}
    thresholds = found if per_slot else run.calibration.thresholds
    return Thresholds(
        len(sentences),
        len(correct),
        run.calibration,
        replace(run.calibration, threshold=general, thresholds=thresholds),
        score_thresholds(confidences, correct, gold.total(), levels),
        by_slot,
    )


def store_calibration(run: Run, calibration: Calibration) -> None:
    """Write `calibration` into the folder of `run`."""
    run.files.replace({CALIBRATION: calibration.to_json().encode()})
    run.calibration = calibration
