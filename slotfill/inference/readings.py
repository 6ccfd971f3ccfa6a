"""Readings: the most probable complete analyses of a sentence, its slots with its intents.

    P(reading) = P(slots) P(intents)

P(slots) is the sum over all tag sequences that stand for exactly these slots, which are several
where tags are not constrained. The candidates are those of the best sequences (list Viterbi), or of
the hypotheses at the end of a beam search, whose shares are then the probabilities. Rules make
some readings equal; their probabilities are added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import nlargest

import numpy as np

from slotfill.data.rules import Rules
from slotfill.data.schemes import TagDecoder
from slotfill.data.sentence import Reading, Sentence, Slot
from slotfill.inference.confidence import intent_probabilities, softmax
from slotfill.inference.decoding import Scores, decode_nbest
from slotfill.inference.lattice import Lattice


@np.errstate(all="ignore")  # Scores of a diverged network overflow.
def best_slots(
    scores: Scores, row: int, length: int, decoder: TagDecoder, temperature: float, count: int
) -> list[tuple[list[Slot], float]]:
    """Return the `count` most probable lists of slots of a sentence, each with its probability.

    Args:
        row: The position of the sentence in the batch.
        length: Its number of tokens.
    """
    shares: dict[tuple[Slot, ...], float] = {}
    if scores.hypotheses is not None:
        paths, logp = scores.hypotheses[row]
        for path, share in zip(paths, softmax(logp / temperature).tolist(), strict=True):
            slots = tuple(decoder(path))
            shares[slots] = shares.get(slots, 0.0) + share
    else:
        emissions, sequences = scores.emissions[row, :length], count
        paths = decode_nbest(emissions, scores.transitions, sequences).paths
        # As long as some of them are the same slots, and there are more.
        while len({tuple(decoder(path)) for path in paths}) < count and len(paths) == sequences:
            sequences *= 4
            paths = decode_nbest(emissions, scores.transitions, sequences).paths
        lengths = np.array([length])
        lattice = Lattice(emissions[None], lengths, scores.transitions, temperature)
        found = list(dict.fromkeys(tuple(decoder(path)) for path in paths))
        probabilities = lattice.reading_probabilities(0, found, decoder)
        shares = dict(zip(found, probabilities, strict=True))
    best = nlargest(count, shares.items(), key=lambda item: item[1])
    return [(list(slots), probability) for slots, probability in best]


def best_intents(
    logits: np.ndarray, multi_label: bool, temperature: float, count: int
) -> list[tuple[list[int], float]]:
    """Return the `count` most probable intents of a sentence, each with its probability.

    With `multi_label` these are sets of intents, of which each has at least one. `logits` is
    `(intents,)`.
    """
    (row,) = intent_probabilities(logits[None], multi_label, temperature).tolist()
    if not multi_label:
        return nlargest(
            count, (([index], each) for index, each in enumerate(row)), key=lambda item: item[1]
        )
    # One more than asked for, since one of them may be the empty set.
    best: list[tuple[list[int], float]] = [([], 1.0)]
    for index, each in enumerate(row):
        without = [(ids, probability * (1 - each)) for ids, probability in best]
        best = without + [([*ids, index], probability * each) for ids, probability in best]
        best = nlargest(count + 1, best, key=lambda item: item[1])
    log_empty = sum(math.log1p(-min(each, 1 - 1e-16)) for each in row)
    not_empty = max(-math.expm1(log_empty), 1e-300)
    return [(ids, probability / not_empty) for ids, probability in best if ids][:count]


def apply_rules(
    rules: Rules, sentence: Sentence, readings: Sequence[Reading]
) -> tuple[Reading, ...]:
    """Return the readings of a sentence after all rules, the most probable first."""
    merged: dict[tuple[tuple[Slot, ...], str | None], float] = {}
    for slots, intent, probability in readings:
        after, _ = rules.apply(sentence, slots, [1.0] * len(slots))
        key = tuple(after), intent
        merged[key] = merged.get(key, 0.0) + probability
    best = sorted(merged.items(), key=lambda item: -item[1])
    return tuple(Reading(list(slots), intent, total) for (slots, intent), total in best)
