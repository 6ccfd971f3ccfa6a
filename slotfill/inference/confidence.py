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
from functools import lru_cache
from itertools import chain
from operator import mul

import numpy as np

from slotfill.data.schemes import TagDecoder
from slotfill.data.sentence import Confidence, Slot
from slotfill.inference.decoding import Hypotheses, Scores, Transitions, decode_single

LOWEST_SCORE = -30.0
"""Score, relative to the best sequence, to which lower ones are raised: exp of it is 1e-13.

Products of smaller numbers are denormal, with which processors calculate many times slower."""

_HIGHEST_SCORE = 300.0
"""Score, relative to the best sequence, to which higher ones at a token are lowered."""
_LOWEST_SCORE = -40.0
"""The same, relative to the highest score at a token."""
_LOWEST_WEIGHT = 1e-7
"""Weight of a tag of the best sequence beside which those that are raised are nothing."""
_ROUNDING = 1e-4
"""More than sums of 32 bits are wrong by."""


@np.errstate(all="ignore")  # Scores of a diverged network overflow; see `_to_probability`.
def slot_confidences(
    scores: Scores,
    lengths: np.ndarray,
    tags: Sequence[Sequence[int]],
    slots: Sequence[Sequence[Slot]],
    decoder: TagDecoder,
    temperature: float = 1.0,
) -> list[Confidence]:
    """Return the probabilities of the predicted `slots` of each sentence of a batch.

    Args:
        lengths: Tokens of each sentence, `(batch,)`.
        tags: The best tag sequence of each sentence, whose slots `slots` are.
        decoder: The meaning of the tag ids.
    """
    if scores.hypotheses is not None:
        return [
            _hypotheses_confidence(hypotheses, own_slots, decoder, temperature)
            for hypotheses, own_slots in zip(scores.hypotheses, slots, strict=True)
        ]
    transitions = scores.transitions
    lattice = Lattice(scores.emissions, lengths, transitions, tags, temperature)
    if transitions is not None and decoder.is_unique:
        flat = lattice.path_slot_probabilities(slots, decoder).tolist()
    else:
        flat = [
            lattice.slot_probability(row, slot, decoder)
            for row, own_slots in enumerate(slots)
            for slot in own_slots
        ]
    confidences, start = [], 0
    for own_slots, reading in zip(slots, lattice.reading.tolist(), strict=True):
        end = start + len(own_slots)
        confidences.append(Confidence(flat[start:end], reading))
        start = end
    return confidences


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
    lattice = Lattice(scores.emissions, lengths, scores.transitions, tags, temperature)
    return [
        [lattice.slot_probability(row, slot, decoder) for slot in own_slots]
        for row, own_slots in enumerate(slots)
    ]


class Lattice:
    """All tag sequences of a batch, with sums of exp(score / T) relative to the best sequence.

    Attributes:
        weights: exp of the emission at each token, `(time, batch, tags)`, 0 at padding; scaled so
            that the weight of the best sequence, or of each part of it, is 1.
        pairs: exp of the transitions, `(from, to)`.
        forward: Sum over all prefixes that end with a tag at a token, its emission included.
        backward: Sum over all continuations of a tag at a token, its emission excluded.
        partition: Sum over all sequences, `(batch,)`.
        reading: Probability of the best sequence, `(batch,)`.
    """

    def __init__(
        self,
        emissions: np.ndarray,
        lengths: np.ndarray,
        transitions: Transitions | None,
        tags: Sequence[Sequence[int]],
        temperature: float = 1.0,
    ) -> None:
        batch, time, _ = emissions.shape
        self.lengths = lengths
        mask = np.arange(time) < lengths[:, None]
        self.path = np.zeros((batch, time), np.intp)
        self.path[mask] = np.fromiter(chain.from_iterable(tags), np.intp)
        self.weights = self._relative_scores(emissions, mask, transitions, temperature)
        with np.errstate(over="ignore"):
            np.exp(np.maximum(self.weights, LOWEST_SCORE, out=self.weights), out=self.weights)
        if not mask.all():
            self.weights[~mask.T] = 0
        self.log_scale: np.ndarray | None = None
        if transitions is None:
            self._normalize_tokens(mask)
            return
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum_sequences(transitions, temperature)
        if not np.isfinite(self.partition).all():
            # Long and flat: the sum exceeds the range of 32 bits beside the best sequence.
            doubles = emissions.astype(np.float64)
            self.weights = self._relative_scores(doubles, mask, transitions, temperature)
            np.exp(np.clip(self.weights, LOWEST_SCORE, _HIGHEST_SCORE), out=self.weights)
            self._scale_tokens(transitions, temperature)
            self._sum_sequences(transitions, temperature)
            assert self.log_scale is not None
            self.reading[:] = _to_probability(np.exp(-self.log_scale[-1]) / self.partition)

    def _relative_scores(
        self,
        emissions: np.ndarray,
        mask: np.ndarray,
        transitions: Transitions | None,
        temperature: float,
    ) -> np.ndarray:
        """Return the emissions less the score of the best sequence at each token, over T."""
        best = np.take_along_axis(emissions, self.path[..., None], axis=2)[..., 0]
        if transitions is not None:
            best[:, 0] += transitions.start[self.path[:, 0]]
            best[:, 1:] += transitions.matrix[self.path[:, :-1], self.path[:, 1:]]
        # Emissions are any number at padding, where the weights become exp(-inf) = 0.
        best = np.where(mask, best, np.inf)
        scores = np.subtract(emissions.transpose(1, 0, 2), best.T[..., None], order="C")
        if transitions is not None:
            scores[0] += transitions.start
        if temperature != 1:
            scores /= temperature
        return scores

    def _normalize_tokens(self, mask: np.ndarray) -> None:
        """Set the sums of independent tokens, whose weights become probabilities."""
        sums = np.where(mask.T[..., None], self.weights.sum(axis=2, keepdims=True), 1)
        self.weights /= sums
        self.pairs = np.ones((self.weights.shape[2],) * 2, self.weights.dtype)
        self.forward, self.backward = self.weights, np.ones_like(self.weights)
        self.partition = np.ones(len(self.lengths))
        self.reading = _to_probability(np.prod(1 / sums, axis=(0, 2)))

    def _sum_sequences(self, transitions: Transitions, temperature: float) -> None:
        """Set the sums of a chain by the forward-backward algorithm."""
        self.pairs, *_ = _exp_transitions(transitions, temperature, self.weights.dtype.str)
        self.forward = np.empty_like(self.weights)
        self.forward[0] = previous = self.weights[0]
        for current, weights in zip(self.forward[1:], self.weights[1:], strict=True):
            np.dot(previous, self.pairs, out=current)
            current *= weights
            previous = current
        rows, last = np.arange(len(self.lengths)), self.lengths - 1
        self.backward = np.zeros_like(self.weights)
        best_end = transitions.end[self.path[rows, last]][:, None]
        self.backward[last, rows] = np.exp((transitions.end - best_end) / temperature)
        following = self.backward[-1]
        for current, weights in zip(self.backward[-2::-1], self.weights[:0:-1], strict=True):
            current += np.dot(following * weights, self.pairs.T)
            following = current
        self.partition = (self.forward[0] * self.backward[0]).sum(axis=1)
        self.reading = 1 / self.partition

    def _scale_tokens(self, transitions: Transitions, temperature: float) -> None:
        """Scale the weights so that the tags at each token have forward sums of 1."""
        pairs, *_ = _exp_transitions(transitions, temperature, "<f8")
        previous = None
        scales = np.ones(self.weights.shape[:2])
        for step, weights in enumerate(self.weights):
            current = weights if previous is None else (previous @ pairs) * weights
            real = self.lengths > step
            scales[step, real] = current[real].sum(axis=1)
            weights /= scales[step, :, None]
            previous = current / scales[step, :, None]
        self.log_scale = np.log(scales).cumsum(axis=0)

    def path_slot_probabilities(
        self, slots: Sequence[Sequence[Slot]], decoder: TagDecoder
    ) -> np.ndarray:
        """Return the probabilities of slots of the best sequence, `(slot,)`, of all sentences.

        For schemes in which a slot has one sequence of tags. Its weight within the slot is then 1,
        that of the best sequence, so only what precedes and what follows is summed.
        """
        spans = [
            (row, start, end - 1)
            for row, own_slots in enumerate(slots)
            for _, start, end in own_slots
        ]
        if not spans:
            return np.zeros(0)
        rows, first, last = np.array(spans).T
        before = self.forward[first, rows, self.path[rows, first]]
        tags = self.path[rows, last]
        after = self.backward[last, rows, tags]
        # Less the sequences that continue the slot: with I-city after B-city or I-city.
        inside = decoder.continuations[tags]
        following = np.minimum(last + 1, len(self.weights) - 1)
        longer = self.weights[following, rows, inside] * self.backward[following, rows, inside]
        longer *= self.pairs[tags, inside] * ((inside >= 0) & (last + 1 < self.lengths[rows]))
        probabilities = before * (after - longer) / self.partition[rows]
        if self.log_scale is not None:
            probabilities *= np.exp(self.log_scale[first, rows] - self.log_scale[last, rows])
        return _to_probability(probabilities)

    def slot_probability(self, row: int, slot: Slot, decoder: TagDecoder) -> float:
        """Return the probability of any slot of the sentence `row`, for every scheme.

        All tag sequences are summed that `decoder` reads as this slot, illegal ones included. A
        slot with an empty name stands for tokens that are in no slot.
        """
        tags = decoder.find_tags(slot.name)
        if not tags:
            return 0.0
        if not slot.name:
            total = self.forward[slot.start, row, tags]
            for step in range(slot.start + 1, slot.end):
                total = (total @ self.pairs[np.ix_(tags, tags)]) * self.weights[step, row, tags]
            after = self.backward[slot.end - 1, row, tags]
            return float(_to_probability(total @ after / self.partition[row]))
        continues = decoder.continues[np.ix_(tags, tags)] * self.pairs[np.ix_(tags, tags)]
        weights = self.weights[:, row, tags]
        total = self.forward[slot.start, row, tags]
        if slot.start:
            before = self.forward[slot.start - 1, row, tags]
            total = total - weights[slot.start] * (before @ continues)
        for step in range(slot.start + 1, slot.end):
            total = weights[step] * (total @ continues)
        after = self.backward[slot.end - 1, row, tags]
        if slot.end < self.lengths[row]:
            after = after - continues @ (weights[slot.end] * self.backward[slot.end, row, tags])
        return float(_to_probability(total @ after / self.partition[row]))

    def reading_probability(self, row: int, slots: Sequence[Slot], decoder: TagDecoder) -> float:
        """Return the probability of exactly these slots in the sentence `row`, for every scheme.

        All tag sequences are summed that `decoder` reads as these slots, illegal ones included.
        """
        length = int(self.lengths[row])
        names, inside = [""] * length, [False] * length
        for name, start, end in slots:
            names[start:end] = [name] * (end - start)
            inside[start + 1 : end] = [True] * (end - start - 1)
        tags = decoder.find_tags(names[0])
        total = self.weights[0, row, tags]
        for step in range(1, length):
            previous, tags = tags, decoder.find_tags(names[step])
            pairs = np.ix_(previous, tags)
            allowed = decoder.continues[pairs] == inside[step]
            total = (total @ (self.pairs[pairs] * allowed)) * self.weights[step, row, tags]
        after = self.backward[length - 1, row, tags]
        return float(_to_probability(total @ after / self.partition[row]))


class SentenceLattice:
    """All tag sequences of one sentence; finds the best one and its probabilities together.

    A sequence with more than half of the probability is the best one, and it is found by choosing,
    from the last token to the first, the tag through which most of the probability flows to the
    tags chosen before. Only where no sequence has as much is the best one found by Viterbi.

    Attributes:
        weights: exp of the emissions, `(time, tags)`; scaled so that the largest at a token is 1.
        forward: For each token, the sum over all prefixes that end with a tag, `(tags,)`.
        partition: Sum over all sequences.
        tags: The ids of the best tags.
        factors: For each of them, its weight times that of the transition to it.
        reading: Probability of the best sequence.
    """

    def __init__(
        self, emissions: np.ndarray, transitions: Transitions, temperature: float = 1.0
    ) -> None:
        """Sum over all sequences with emissions `(time, tags)`."""
        self.emissions, self.transitions, self.temperature = emissions, transitions, temperature
        scores = emissions - emissions.max(axis=1, keepdims=True)
        scores[0] += transitions.start
        if temperature != 1:
            scores /= temperature
        self.weights = np.exp(np.maximum(scores, _LOWEST_SCORE, out=scores), out=scores)
        self.pairs, by_successor, self.end = _exp_transitions(
            transitions, temperature, scores.dtype.str
        )
        self.forward = [self.weights[0]]
        for weights in self.weights[1:]:
            self.forward.append(self.forward[-1].dot(self.pairs) * weights)
        self.partition = float(self.forward[-1].dot(self.end))
        tags: list[int] = []
        following = self.end
        for sums in reversed(self.forward):
            tags.append(int((sums * following).argmax()))
            following = by_successor[tags[-1]]
        self._choose(tags[::-1])
        if not 0.5 + _ROUNDING < self.reading < 1 + _ROUNDING:
            self._choose(decode_single(emissions, transitions))

    def _choose(self, tags: list[int]) -> None:
        """Set `tags` and what follows from them."""
        self.tags = tags
        weights = self.weights[range(len(tags)), tags].tolist()
        # Weights that were raised are not those of the sequence.
        self.is_precise = min(weights) > _LOWEST_WEIGHT
        pairs = self.pairs[tags[:-1], tags[1:]].tolist()
        self.factors = [weights[0], *map(mul, weights[1:], pairs)]
        total = math.prod(self.factors) * float(self.end[tags[-1]])
        self.reading = total / self.partition if self.is_precise and self.partition else math.nan

    def confidence(self, slots: Sequence[Slot], decoder: TagDecoder) -> Confidence:
        """Return the probabilities of `slots`, which are those of `tags`, and of `tags`."""
        length = len(self.tags)
        if not 0 <= self.reading < 1 + _ROUNDING:
            lattice = Lattice(
                self.emissions[None],
                np.array([length]),
                self.transitions,
                [self.tags],
                self.temperature,
            )
            probabilities = lattice.path_slot_probabilities([slots], decoder).tolist()
            return Confidence(probabilities, float(lattice.reading[0]))
        backward = {length: self.end}
        for step in range(length - 1, slots[0].end - 1 if slots else length, -1):
            backward[step] = self.pairs.dot(self.weights[step] * backward[step + 1])
        probabilities = []
        for _, start, end in slots:
            tag = self.tags[end - 1]
            after = float(backward[end][tag])
            inside = decoder.continuations[tag]
            if end < length and inside >= 0:
                # Less the sequences that continue the slot: with I-city after B-city or I-city.
                longer = self.weights[end, inside] * backward[end + 1][inside]
                after -= float(self.pairs[tag, inside] * longer)
            total = float(self.forward[start][self.tags[start]]) * after
            total *= math.prod(self.factors[start + 1 : end])
            probabilities.append(min(1.0, max(0.0, total / self.partition)))
        return Confidence(probabilities, min(1.0, self.reading))


def sentence_lattices(
    scores: Scores, lengths: np.ndarray, decoder: TagDecoder, temperature: float
) -> list[SentenceLattice]:
    """Return the lattice of each sentence; none unless tags are a chain, with one path a slot."""
    if scores.transitions is None or scores.hypotheses is not None or not decoder.is_unique:
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            SentenceLattice(row[:length], scores.transitions, temperature)
            for row, length in zip(scores.emissions, lengths, strict=True)
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
    """Return the probability of the predicted `intents` of each sentence.

    With `multi_label` it is that of exactly this set: intents are independent, so the product of
    P(intent) for each of the set, and of 1 - P(intent) for all others. It is divided by the
    probability that the set is not empty, since a sentence has at least one.
    """
    if not multi_label:
        best = logits[range(len(logits)), [ids[0] for ids in intents]]
        sums = np.exp((logits - best[:, None]) / temperature).sum(axis=1)
        return _to_probability(1 / sums).tolist()
    # P(not intent) = 1 / (1 + exp(logit)), and P(intent) is that of the negative logit.
    signed = logits.astype(np.float64) / temperature
    log_empty = -np.logaddexp(0, signed).sum(axis=1)
    for row, ids in zip(signed, intents, strict=True):
        row[ids] *= -1
    exactly = np.exp(-np.logaddexp(0, signed).sum(axis=1))
    return _to_probability(exactly / np.maximum(-np.expm1(log_empty), 1e-300)).tolist()


@np.errstate(all="ignore")
def softmax(scores: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, in double precision."""
    weights = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    return _to_probability(weights / weights.sum(axis=-1, keepdims=True))


def _to_probability(values: np.ndarray) -> np.ndarray:
    """Return `values` clipped to 0 and 1; 0 where scores have overflowed and they are nan."""
    return np.fmin(np.fmax(values, 0), 1)


@lru_cache(maxsize=4)
def _exp_transitions(
    transitions: Transitions, temperature: float, dtype: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return exp(transition / T) as `(from, to)` and as `(to, from)`, and that of the end."""
    pairs = np.exp(transitions.matrix.astype(np.float64) / temperature).astype(dtype)
    end = np.exp(transitions.end.astype(np.float64) / temperature).astype(dtype)
    return pairs, np.ascontiguousarray(pairs.T), end
