"""Weights of sentences: those with rare slots count more in the loss, or are repeated.

    weight(c) = slot_weights[c] * z / n_c ** class_balance
    weight(s) = the largest weight(c) of the slots in sentence s, 1 without slots
    repeat(s) = the largest sqrt(repeat_threshold / f_c) of its slots, at least 1

n_c is how often slot c occurs in the training sentences, f_c the share of them that contain it. z
makes the mean of 1 / n_c ** class_balance over all slots 1. A predicted sentence counts by its
confidence in addition. The weights are those of sentences,
since a CRF has one loss for a sentence; the third remedy, the focal loss, is in `Network.loss`.

Source: repeated sentences: Gupta, Dollár & Girshick 2019, "LVIS: A Dataset for Large Vocabulary
Instance Segmentation", section 5.1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from slotfill.config.sections import TrainConfig
from slotfill.data.sentence import Sentence
from slotfill.data.vocab import check_slot_names
from slotfill.errors import ConfigError

MAX_REPEATS = 10
"""How often a new sentence occurs at most where training continues a run."""


def sentence_weights(sentences: Sequence[Sentence], config: TrainConfig) -> np.ndarray | None:
    """Return the weights `(sentences,)` of the training sentences; None if all are 1.

    Raises ConfigError if `slot_weights` names a slot that no sentence has, or all slots weigh 0.
    """
    predicted = [sentence.confidence for sentence in sentences]
    readings = [1.0 if each is None else each.reading for each in predicted]
    confidences = np.array(readings, np.float32)
    if config.slot_weights or config.class_balance:
        return confidences * _slot_weights(sentences, config)
    return confidences if any(predicted) else None


def _slot_weights(sentences: Sequence[Sentence], config: TrainConfig) -> np.ndarray:
    """Return weight(s) of each sentence."""
    names = [[slot.name for slot in sentence.slots or ()] for sentence in sentences]
    counts = Counter(name for own in names for name in own)
    check_slot_names("train.slot_weights", config.slot_weights, counts)
    occurrences = np.array([*counts.values()], np.float64)
    balanced = occurrences**-config.class_balance
    balanced *= occurrences.sum() / max((occurrences * balanced).sum(), 1e-300)
    weights = {
        name: weight * config.slot_weights.get(name, 1.0)
        for name, weight in zip(counts, balanced.tolist(), strict=True)
    }
    if weights and not any(weights.values()):
        raise ConfigError("all slots have the weight 0; give one more", key="train.slot_weights")
    return np.array([max(map(weights.__getitem__, own), default=1.0) for own in names], np.float32)


def repeat_new(sentences: Sequence[Sentence], earlier: int) -> Sequence[Sentence]:
    """Repeat the new sentences, so that they are a quarter of all; the last `earlier` are old.

    None is repeated more often than `MAX_REPEATS` times.
    """
    new = len(sentences) - earlier
    times = min(round(earlier / (3 * max(new, 1))), MAX_REPEATS)
    return [*[*sentences[:new]] * times, *sentences[new:]] if times > 1 else sentences


def repeat_factors(sentences: Sequence[Sentence], threshold: float) -> np.ndarray:
    """Return how often each sentence should occur, `(sentences,)`: repeat(s), at least 1."""
    names = [{slot.name for slot in sentence.slots or ()} for sentence in sentences]
    counts = Counter(name for own in names for name in own)
    rarest = [min(map(counts.__getitem__, own), default=len(names)) for own in names]
    return np.maximum(1.0, np.sqrt(threshold * len(names) / np.array(rarest)))


def repeat_rare(sentences: Sequence[Sentence], config: TrainConfig) -> Sequence[Sentence]:
    """Return the sentences, those with rare slots as often as `repeat_factors` says.

    A fraction of a repetition becomes a full one with that probability, drawn once from the seed.
    """
    if not config.repeat_threshold:
        return sentences
    factors = repeat_factors(sentences, config.repeat_threshold)
    draws = np.random.default_rng(config.seed).random(len(factors))
    times = np.floor(factors + draws).astype(int).tolist()
    return [
        sentence for sentence, count in zip(sentences, times, strict=True) for _ in range(count)
    ]
