"""Confidence: the probability of each predicted slot, of the intent and of the complete reading.

The confidence of a slot is the probability that exactly its tokens form a slot of its name: the sum
of the probabilities of all tag sequences that contain it.

    chain       P(y) = exp(score(y)) / Z, with the transitions of a CRF, or 0 and minus infinity
                (constrained taggers); the sum by the forward-backward algorithm
    softmax     P(y) = product of P(y_t), the softmax at each token; for a tagger that sees the
                previous tags, given the tags that it predicted before
    beam search P(y) over the hypotheses at its end, normalized to a sum of 1
    ensemble    as its members, with their mean emissions and transitions

A temperature T divides all scores, P(y) ~ exp(score(y) / T): it changes no prediction.

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models" (forward-backward); Culotta & McCallum
2004, "Confidence Estimation for Information Extraction"; Guo et al. 2017, "On Calibration of Modern
Neural Networks" (temperature)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from slotfill.data.schemes import TagDecoder
from slotfill.data.sentence import Confidence, Slot
from slotfill.inference.decoding import Hypotheses, Scores
from slotfill.inference.lattice import Lattice, SentenceLattices, to_probability


@np.errstate(all="ignore")  # Scores of a diverged network overflow; see `to_probability`.
def slot_confidences(
    scores: Scores,
    lengths: np.ndarray,
    tags: Sequence[Sequence[int]],
    slots: Sequence[Sequence[Slot]],
    decoder: TagDecoder,
    temperature: float = 1.0,
    lattice: Lattice | SentenceLattices | None = None,
) -> list[Confidence]:
    """Return the probabilities of the predicted `slots` of each sentence of a batch.

    Args:
        lengths: Tokens of each sentence, `(batch,)`.
        tags: The best tag sequence of each sentence, whose slots `slots` are.
        decoder: The meaning of the tag ids.
        lattice: That by which `tags` were found, to be used if its temperature is the same.
    """
    if scores.hypotheses is not None:
        return [
            _hypotheses_confidence(hypotheses, own_slots, decoder, temperature)
            for hypotheses, own_slots in zip(scores.hypotheses, slots, strict=True)
        ]
    if lattice is None or lattice.temperature != temperature:
        lattice = Lattice(scores.emissions, lengths, scores.transitions, temperature)
        lattice.follow(list(map(list, tags)))
    return lattice.confidences(slots, decoder)


@np.errstate(all="ignore")
def slot_probabilities(
    scores: Scores,
    lengths: np.ndarray,
    tags: Sequence[Sequence[int]],
    slots: Sequence[Sequence[Slot]],
    decoder: TagDecoder,
    temperature: float = 1.0,
) -> list[list[float]]:
    """Return the probabilities of any `slots` of each sentence, predicted or not.

    A slot with an empty name stands for tokens that are in no slot. The other arguments are those
    of `slot_confidences`.
    """
    if scores.hypotheses is not None:
        return [
            [_slot_share(hypotheses, slot, decoder, temperature) for slot in own_slots]
            for hypotheses, own_slots in zip(scores.hypotheses, slots, strict=True)
        ]
    lattice = Lattice(scores.emissions, lengths, scores.transitions, temperature)
    return [
        [lattice.slot_probability(row, slot, decoder) for slot in own_slots]
        for row, own_slots in enumerate(slots)
    ]


def _hypotheses_confidence(
    hypotheses: Hypotheses, slots: Sequence[Slot], decoder: TagDecoder, temperature: float
) -> Confidence:
    shares = softmax(hypotheses.logp / temperature)
    readings = [set(decoder(path)) for path in hypotheses.paths]
    containing = [[slot in reading for reading in readings] for slot in slots]
    # Sums of shares may exceed 1 by rounding.
    return Confidence(
        [min(1.0, shares[rows].sum().item()) for rows in containing], shares[0].item()
    )


def in_domain_score(known: float, length: int, reading: float, intent: float | None) -> float:
    """Return how much a sentence is like those of training, from 0 to 1.

        known P(slots)^(1 / length) P(intent)

    Args:
        known: The share of its tokens that occur in training.
        length: Its number of tokens.
        reading: The probability of the predicted slots together, P(slots).
        intent: That of the predicted intent; None without intents.
    """
    return known * reading ** (1 / length) * (1.0 if intent is None else intent)


def _slot_share(
    hypotheses: Hypotheses, slot: Slot, decoder: TagDecoder, temperature: float
) -> float:
    shares = softmax(hypotheses.logp / temperature)
    has_slot = [_contains(decoder(path), slot) for path in hypotheses.paths]
    return float(shares[has_slot].sum())


def _contains(reading: Sequence[Slot], slot: Slot) -> bool:
    """Return whether `slot` is in a reading; with an empty name, whether its tokens are in none."""
    if slot.name:
        return slot in reading
    return not any(map(slot.overlaps, reading))


def intent_probabilities(
    logits: np.ndarray, multi_label: bool, temperature: float = 1.0
) -> np.ndarray:
    """Return the probability of each intent, `(batch, intents)`.

    The softmax of the logits, or with `multi_label` the sigmoid of each.
    """
    if not multi_label:
        return softmax(logits / temperature)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits.astype(np.float64) / temperature))


@np.errstate(all="ignore")
def intent_confidences(
    logits: np.ndarray,
    intents: Sequence[Sequence[int]],
    multi_label: bool,
    temperature: float = 1.0,
) -> list[float]:
    """Return the probability of these `intents` of each sentence, predicted or not.

    With `multi_label` it is that of exactly this set: intents are independent, so the product of
    P(intent) for each of the set, and of 1 - P(intent) for all others. It is divided by the
    probability that the set is not empty, since a sentence has at least one.
    """
    if not multi_label:
        rows = zip(logits.tolist(), intents, strict=True)
        return [_intent_probability(row, ids[0], temperature) for row, ids in rows]
    # P(not intent) = 1 / (1 + exp(logit)), and P(intent) is exp(logit) times that.
    scaled = logits.astype(np.float64) / temperature
    log_empty = -np.logaddexp(0, scaled).sum(axis=1)
    return [
        _set_probability(sum([row[index] for index in ids]), empty)
        for row, ids, empty in zip(scaled.tolist(), intents, log_empty.tolist(), strict=True)
    ]


def _set_probability(logit: float, log_empty: float) -> float:
    """Return the probability of a set of intents with this sum of logits, if it is not empty."""
    probability = math.exp(log_empty + logit) / max(-math.expm1(log_empty), 1e-300)
    return min(1.0, max(0.0, probability))


def _intent_probability(logits: list[float], index: int, temperature: float) -> float:
    """Return the softmax of few logits at `index`, without NumPy's cost of each call."""
    highest = max(logits)
    weights = [math.exp((logit - highest) / temperature) for logit in logits]
    return max(
        0.0, weights[index] / sum(weights)
    )  # In this order, 0 where scores have overflowed and it is nan.


@np.errstate(all="ignore")
def softmax(scores: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, in double precision."""
    weights = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    return to_probability(weights / weights.sum(axis=-1, keepdims=True))
