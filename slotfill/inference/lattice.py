"""The probabilities of all tag sequences of a sentence, by the forward-backward algorithm.

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models", with the sums scaled at each token
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from itertools import chain, pairwise
from operator import mul

import numpy as np

from slotfill.data.schemes import TagDecoder
from slotfill.data.sentence import Confidence, Slot
from slotfill.inference.decoding import (
    SINGLE_DECODE_MAX_BATCH,
    Scores,
    Transitions,
    decode,
    decode_single,
)

LOWEST_SCORE = -40.0
"""Score, relative to the highest at a token, to which lower ones are raised.

Products of smaller numbers are denormal, with which processors calculate many times slower."""
_LOWEST_DOUBLE = -300.0
"""The same for double precision."""
_LOWEST_PRECISE = -16.0
"""Relative score of a tag of the best sequence beside which those that are raised are nothing."""
_LOWEST_PRECISE_WEIGHT = math.exp(_LOWEST_PRECISE)
_MAX_CANDIDATES = 16
"""Up to so many tags, the best sequence is found faster among them than among all."""
_ROUNDING = 1e-4
"""More than the rounding of sums in single precision."""
_INEXACT = 1e-2
"""The share of all sequences whose loss shows that sums were too large or small for a precision."""
_LOWEST_PARTITION = 1e-25
"""A sum in single precision of which parts are still precise."""


class Lattice:
    """All tag sequences of a batch, or independent tags for a tagger without transitions.

    Attributes:
        weights: exp(emission / T), `(time, batch, tags)`, 0 at padding; scaled so that the sums of
            `forward` are 1.
        pairs: exp(transition / T), `(from, to)`.
        forward: For each token, the share of the prefixes that end with a tag, of the same shape.
        path: The ids of the tags of each sentence that are followed, `(batch, time)`.
        readings: The probability of the complete `path` of each sentence, `(batch,)`.
    """

    def __init__(
        self,
        emissions: np.ndarray,
        lengths: np.ndarray,
        transitions: Transitions | None,
        temperature: float = 1.0,
    ) -> None:
        """Sum over the sequences with `emissions`, `(batch, time, tags)`, any number at padding."""
        self.emissions, self.lengths, self.transitions = emissions, lengths, transitions
        self.temperature = temperature
        self.mask = np.arange(emissions.shape[1])[:, None] < lengths
        lowest = LOWEST_SCORE if emissions.dtype == np.float32 else _LOWEST_DOUBLE
        self.highest = emissions.max(axis=2)
        weights = np.subtract(emissions.transpose(1, 0, 2), self.highest.T[..., None], order="C")
        if transitions is not None:
            weights[0] += transitions.start
        if temperature != 1:
            weights /= temperature
        self.weights = np.exp(np.maximum(weights, lowest, out=weights), out=weights)
        if not self.mask.all():
            weights[~self.mask] = 0
        self.pairs = np.ones((emissions.shape[2],) * 2, weights.dtype)
        self.end = self.pairs[0]
        if transitions is not None:
            self.pairs, self.end = exp_transitions(transitions, temperature, weights.dtype.str)
        self._sum_prefixes()

    def _sum_prefixes(self) -> None:
        self.forward = np.empty_like(self.weights)
        ones = np.ones_like(self.end)
        for step, (sums, weights) in enumerate(zip(self.forward, self.weights, strict=True)):
            if step and self.transitions is not None:
                np.dot(self.forward[step - 1], self.pairs, out=sums)
                sums *= weights
            else:
                sums[:] = weights
            scale = 1 / np.where(self.mask[step], sums.dot(ones), 1)[:, None]
            sums *= scale
            weights *= scale

    @cached_property
    def backward(self) -> np.ndarray:
        """The sum over all continuations of a tag at a token, as a multiple of the mean's."""
        backward = np.zeros_like(self.weights)
        rows, last = np.arange(len(self.lengths)), self.lengths - 1
        backward[last, rows] = self.end / self.forward[last, rows].dot(self.end)[:, None]
        if self.transitions is None:
            backward[:] = 1
            return backward
        by_successor = np.ascontiguousarray(self.pairs.T)
        following = backward[-1]
        for current, weights in zip(backward[-2::-1], self.weights[:0:-1], strict=True):
            current += np.dot(following * weights, by_successor)
            following = current
        return backward

    @cached_property
    def is_exact(self) -> np.ndarray:
        """Whether all sequences of a sentence are summed at each token, `(batch,)`."""
        totals = np.einsum("tbk,tbk->tb", self.forward, self.backward)
        return ((np.abs(totals - 1) < _INEXACT) | ~self.mask).all(axis=0)

    def follow(self, tags: Sequence[Sequence[int]]) -> None:
        """Follow `tags`, which may be any of each sentence."""
        path = np.zeros(self.mask.T.shape, np.intp)
        path[self.mask.T] = np.fromiter(chain.from_iterable(tags), np.intp)
        self._follow(path)

    def follow_best(self) -> None:
        """Follow the best tags of each sentence.

        Those are most often the most probable tag at each token: if their sequence is more probable
        than any other tag is at any token, then no other sequence is as probable. Where it is not,
        Viterbi finds them.
        """
        if self.transitions is None:
            self.follow(decode(self.emissions, self.lengths, None))
            return
        shares = self.forward * self.backward
        path = shares.argmax(axis=2).T
        self._follow(path)
        is_valid = self.is_precise & (self.readings < 1 + _ROUNDING)
        rows = np.flatnonzero(~(is_valid & (self.readings > 0.5 + _ROUNDING)))
        others = shares[:, rows]
        np.put_along_axis(others, path[rows].T[..., None], 0, axis=2)
        is_best = self.readings[rows] > others.max(axis=(0, 2)) + _ROUNDING
        rows = rows[~(is_valid[rows] & is_best)]
        if len(rows):
            found = decode(self.emissions[rows], self.lengths[rows], self.transitions)
            for row, tags in zip(rows, found, strict=True):
                path[row, : len(tags)] = tags
            self._follow(path)

    @property
    def tags(self) -> list[list[int]]:
        """The tags of each sentence that are followed."""
        rows = zip(self.path.tolist(), self.lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]

    def _follow(self, path: np.ndarray) -> None:
        """Set `path` and its probabilities."""
        self.path = path
        places = self.path[..., None]
        scores = np.take_along_axis(self.emissions, places, axis=2)[..., 0] - self.highest
        if self.transitions is not None:
            scores[:, 0] += self.transitions.start[self.path[:, 0]]
        # Weights that were raised are not those of the tags.
        is_lower = (scores < _LOWEST_PRECISE * self.temperature) & self.mask.T
        self.is_precise = ~is_lower.any(axis=1) & self.is_exact
        factors = np.take_along_axis(self.weights, places.transpose(1, 0, 2), axis=2)[..., 0]
        factors[1:] *= self.pairs[self.path[:, :-1], self.path[:, 1:]].T
        factors[~self.mask] = 1
        self.log_products = np.log(factors, dtype=np.float64).cumsum(axis=0)
        rows, last = np.arange(len(self.lengths)), self.lengths - 1
        ends = self.end[self.path[rows, last]] / self.forward[last, rows].dot(self.end)
        self.readings = np.exp(self.log_products[-1]) * ends

    def confidences(self, slots: Sequence[Sequence[Slot]], decoder: TagDecoder) -> list[Confidence]:
        """Return the probabilities of the `slots` that `tags` are, and of `tags`."""
        if self.emissions.dtype == np.float32 and not self.is_precise.all():
            emissions = self.emissions.astype(np.float64)
            precise = Lattice(emissions, self.lengths, self.transitions, self.temperature)
            precise._follow(self.path)
            return precise.confidences(slots, decoder)
        if self.transitions is not None and decoder.is_unique:
            flat = self._path_slot_probabilities(slots, decoder).tolist()
        else:
            flat = [
                self.slot_probability(row, slot, decoder)
                for row, own_slots in enumerate(slots)
                for slot in own_slots
            ]
        confidences, start = [], 0
        readings = to_probability(self.readings).tolist()
        for own_slots, reading in zip(slots, readings, strict=True):
            end = start + len(own_slots)
            confidences.append(Confidence(flat[start:end], reading))
            start = end
        return confidences

    def _path_slot_probabilities(
        self, slots: Sequence[Sequence[Slot]], decoder: TagDecoder
    ) -> np.ndarray:
        """Return the probabilities of slots of `tags`, `(slot,)`, of all sentences.

        For schemes in which a slot has one sequence of tags: only what precedes and what follows
        it is summed.
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
        within = np.exp(self.log_products[last, rows] - self.log_products[first, rows])
        tags = self.path[rows, last]
        after = self.backward[last, rows, tags]
        # Less the sequences that continue the slot: with I-city after B-city or I-city.
        inside = decoder.continuations[tags]
        following = np.minimum(last + 1, len(self.weights) - 1)
        longer = self.weights[following, rows, inside] * self.backward[following, rows, inside]
        longer *= self.pairs[tags, inside] * ((inside >= 0) & (last + 1 < self.lengths[rows]))
        return to_probability(before * within * (after - longer))

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
            return float(to_probability(total @ after))
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
        return float(to_probability(total @ after))

    def reading_probabilities(
        self, row: int, readings: Sequence[Sequence[Slot]], decoder: TagDecoder
    ) -> list[float]:
        """Return the probability of exactly the slots of each reading of the sentence `row`.

        All tag sequences are summed that `decoder` reads as these slots, illegal ones included.
        """
        length = int(self.lengths[row])
        find_tags = cache(decoder.find_tags)

        @cache
        def weights(name: str) -> np.ndarray:
            return self.weights[:length, row, find_tags(name)]

        @cache
        def pairs(previous: str, name: str, inside: bool) -> np.ndarray:
            block = np.ix_(find_tags(previous), find_tags(name))
            return self.pairs[block] * (decoder.continues[block] == inside)

        def probability(slots: Sequence[Slot]) -> float:
            names, inside = [""] * length, [False] * length
            for name, start, end in slots:
                names[start:end] = [name] * (end - start)
                inside[start + 1 : end] = [True] * (end - start - 1)
            total = weights(names[0])[0]
            for step, (previous, name) in enumerate(pairwise(names), 1):
                total = (total @ pairs(previous, name, inside[step])) * weights(name)[step]
            after = self.backward[length - 1, row, find_tags(names[-1])]
            return float(to_probability(total @ after))

        return [probability(slots) for slots in readings]


class SentenceLattice:
    """What `Lattice` is, for one sentence, in fewer calls and with the sums not scaled.

    It also finds the best tags.

    Attributes:
        weights: exp(emission / T), `(time, tags)`; scaled so that the largest at a token is 1.
        forward: Sum over all prefixes that end with a tag, of the same shape.
        backward: Sum over all continuations of a tag.
        partition: Sum over all sequences; 0 if sums were too large or small for the precision.
        tags: The ids of the best tags.
        factors: For each of them, its weight times that of the transition to it.
        reading: Probability of the best sequence.
    """

    def __init__(
        self, emissions: np.ndarray, transitions: Transitions, temperature: float = 1.0
    ) -> None:
        """Sum over the sequences with `emissions`, `(time, tags)`, and find the best."""
        self.emissions, self.transitions, self.temperature = emissions, transitions, temperature
        weights = emissions - emissions.max(axis=1, keepdims=True)
        weights[0] += transitions.start
        if temperature != 1:
            weights /= temperature
        self.weights = np.exp(np.maximum(weights, LOWEST_SCORE, out=weights), out=weights)
        self.pairs, self.end = exp_transitions(transitions, temperature, weights.dtype.str)
        forward, backward = [weights[0]], [self.end]
        for row in weights[1:]:
            forward.append(forward[-1].dot(self.pairs) * row)
        for row in weights[:0:-1]:
            backward.append(self.pairs.dot(backward[-1] * row))
        self.forward, self.backward = np.array(forward), np.array(backward[::-1])
        partition = float(forward[-1].dot(self.end))
        shares = self.forward * self.backward
        lost = np.abs(shares.sum(axis=1) - partition).max()
        is_exact = partition > _LOWEST_PARTITION and lost < _INEXACT * partition
        self.partition = partition if is_exact else 0.0
        self._follow(shares.argmax(axis=1))
        if not 0.5 + _ROUNDING < self.reading < 1 + _ROUNDING:
            self._follow(self._decode(shares))

    def _decode(self, shares: np.ndarray) -> np.ndarray:
        """Return the best tags, by Viterbi among those that are as probable as those found."""
        possible = shares >= self.reading * self.partition * (1 - _ROUNDING)
        tags = np.flatnonzero(possible.any(axis=0))
        # Without any probability, as of an illegal sequence, all tags are left.
        if not 0 < len(tags) <= _MAX_CANDIDATES:
            return np.array(decode_single(self.emissions, self.transitions))
        if possible.sum() == len(possible):
            return shares.argmax(axis=1)
        matrix = self.transitions.matrix[tags[:, None], tags]
        emissions = self.emissions[:, tags]
        alphas = [self.transitions.start[tags] + emissions[0]]
        for row in emissions[1:]:
            alphas.append((alphas[-1][:, None] + matrix).max(axis=0) + row)
        path: list[int] = []
        following = self.transitions.end[tags]
        for alpha in reversed(alphas):
            path.append(int((alpha + following).argmax()))
            following = matrix[:, path[-1]]
        return tags[path[::-1]]

    def _follow(self, tags: np.ndarray) -> None:
        """Set `tags` and what follows from them."""
        self.tags: list[int] = tags.tolist()
        weights = self.weights[np.arange(len(tags)), tags].tolist()
        pairs = self.pairs[tags[:-1], tags[1:]].tolist()
        self.factors = [weights[0], *map(mul, weights[1:], pairs)]
        self.reading = math.nan
        # Weights that were raised are not those of the sequence.
        if min(weights) > _LOWEST_PRECISE_WEIGHT and self.partition:
            total = math.prod(self.factors) * float(self.end[self.tags[-1]])
            self.reading = total / self.partition

    def confidence(self, slots: Sequence[Slot], decoder: TagDecoder) -> Confidence:
        """Return the probabilities of `slots`, which are those of `tags`, and of `tags`."""
        if not 0 <= self.reading < 1 + _ROUNDING:
            emissions = self.emissions[None].astype(np.float64)
            lengths = np.array([len(self.tags)])
            lattice = Lattice(emissions, lengths, self.transitions, self.temperature)
            lattice.follow([self.tags])
            return lattice.confidences([slots], decoder)[0]
        probabilities = []
        for _, start, end in slots:
            tag = self.tags[end - 1]
            after = float(self.backward[end - 1, tag])
            inside = decoder.continuations[tag]
            if end < len(self.tags) and inside >= 0:
                # Less the sequences that continue the slot: with I-city after B-city or I-city.
                longer = self.weights[end, inside] * self.backward[end, inside]
                after -= float(self.pairs[tag, inside] * longer)
            total = float(self.forward[start, self.tags[start]]) * after
            total *= math.prod(self.factors[start + 1 : end])
            probabilities.append(min(1.0, max(0.0, total / self.partition)))
        return Confidence(probabilities, min(1.0, self.reading))


class SentenceLattices:
    """What `Lattice` is, for a few sentences, one by one."""

    def __init__(
        self,
        emissions: np.ndarray,
        lengths: np.ndarray,
        transitions: Transitions,
        temperature: float,
    ) -> None:
        """Sum over the sequences with `emissions`, `(batch, time, tags)`, and find the best."""
        self.temperature = temperature
        self.lattices = [
            SentenceLattice(row[:length], transitions, temperature)
            for row, length in zip(emissions, lengths, strict=True)
        ]

    @property
    def tags(self) -> list[list[int]]:
        """The best tags of each sentence."""
        return [lattice.tags for lattice in self.lattices]

    def confidences(self, slots: Sequence[Sequence[Slot]], decoder: TagDecoder) -> list[Confidence]:
        """Return the probabilities of the `slots` that `tags` are, and of `tags`."""
        pairs = zip(self.lattices, slots, strict=True)
        return [lattice.confidence(own_slots, decoder) for lattice, own_slots in pairs]


@np.errstate(all="ignore")  # Scores of a diverged network overflow; see `to_probability`.
def find_tags(
    scores: Scores, lengths: np.ndarray, decoder: TagDecoder, temperature: float
) -> Lattice | SentenceLattices:
    """Return the lattice of a batch with the best tags; not for the result of a beam search."""
    transitions = scores.transitions
    if transitions and decoder.is_unique and len(lengths) <= SINGLE_DECODE_MAX_BATCH:
        return SentenceLattices(scores.emissions, lengths, transitions, temperature)
    lattice = Lattice(scores.emissions, lengths, transitions, temperature)
    lattice.follow_best()
    return lattice


def to_probability(values: np.ndarray) -> np.ndarray:
    """Return `values` clipped to 0 and 1; 0 where scores have overflowed and they are nan."""
    return np.fmin(np.fmax(values, 0), 1)


@lru_cache(maxsize=4)
def exp_transitions(
    transitions: Transitions, temperature: float, dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(transition / T), `(from, to)`, and that of the end, `(tags,)`."""
    pairs = np.exp(transitions.matrix.astype(np.float64) / temperature).astype(dtype)
    return pairs, np.exp(transitions.end.astype(np.float64) / temperature).astype(dtype)
