"""Confidence against sums over all tag sequences, and list Viterbi against all of them sorted."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest

from slotfill.data.schemes import SCHEMES, TagDecoder, all_tags
from slotfill.data.sentence import Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.values import KnownValues
from slotfill.data.vocab import Vocab
from slotfill.inference.calibration import UNCALIBRATED
from slotfill.inference.confidence import (
    intent_confidences,
    intent_probabilities,
    slot_confidences,
    softmax,
)
from slotfill.inference.decoding import (
    Hypotheses,
    Scores,
    Transitions,
    decode,
    decode_nbest,
    legal_transitions,
    marginals,
)
from slotfill.inference.engine import Engine
from slotfill.inference.lattice import Lattice, find_tags
from slotfill.inference.tagging import predict

LENGTHS = np.array([3, 1, 4, 2])


def learned(tags, scheme, random):
    """Return random scores for the transitions that `scheme` allows."""
    legal = legal_transitions(tags, scheme)
    return Transitions(
        *(
            table + random.normal(size=table.shape).astype(np.float32)
            for table in (legal.start, legal.matrix, legal.end)
        )
    )


TRANSITIONS = {
    "softmax": lambda tags, scheme, random: None,
    "constrained": lambda tags, scheme, random: legal_transitions(tags, scheme),
    "crf": learned,
}


def sequence_probabilities(emissions, transitions, temperature):
    """Return all tag sequences of a sentence and the probability of each."""
    paths = list(product(range(emissions.shape[1]), repeat=len(emissions)))
    scores = np.array([sum(emissions[range(len(path)), path]) for path in paths])
    if transitions is not None:
        scores += [
            transitions.start[path[0]]
            + transitions.end[path[-1]]
            + sum(transitions.matrix[pair] for pair in pairwise(path))
            for path in paths
        ]
    return paths, softmax(scores / temperature)


def slot_names(scheme):
    return ["x", "y"] if scheme.startswith(("io", "bio")) and scheme != "bioes" else ["x"]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", TRANSITIONS)
def test_confidence_is_the_sum_over_all_sequences_with_the_slot(kind, scheme, temperature):
    random = np.random.default_rng(len(scheme) + int(10 * temperature))
    tags = all_tags(slot_names(scheme), scheme)
    decoder = TagDecoder(tags, scheme)
    found = 0
    for _ in range(2):
        emissions = random.normal(scale=2, size=(4, 4, len(tags))).astype(np.float32)
        transitions = TRANSITIONS[kind](tags, scheme, random)
        paths = decode(emissions, LENGTHS, transitions)
        slots = [decoder(path) for path in paths]
        scores = Scores(emissions, transitions)
        together = slot_confidences(scores, LENGTHS, paths, slots, decoder, temperature)
        lattice = Lattice(emissions, LENGTHS, transitions, temperature)
        for row, length in enumerate(LENGTHS):
            own = emissions[row, :length]
            sequences, probabilities = sequence_probabilities(own, transitions, temperature)
            readings = [set(decoder(sequence)) for sequence in sequences]
            summed = Counter()
            for probability, reading in zip(probabilities, readings, strict=True):
                summed.update(dict.fromkeys(reading, probability))
            single = find_tags(
                Scores(own[None], transitions), LENGTHS[row : row + 1], decoder, temperature
            )
            assert single.tags == [paths[row]]
            (alone,) = single.confidences([slots[row]], decoder)
            expected = [summed[slot] for slot in slots[row]]
            assert together[row].slots == pytest.approx(expected, abs=2e-6)
            assert alone.slots == pytest.approx(expected, abs=2e-6)
            assert together[row].reading == pytest.approx(max(probabilities), abs=2e-6)
            assert alone.reading == pytest.approx(max(probabilities), abs=2e-6)
            for slot in summed:
                probability = lattice.slot_probability(row, slot, decoder)
                assert probability == pytest.approx(summed[slot], abs=2e-6)
            found += len(expected)
    assert found > 2


def test_probability_of_a_slot_name_without_tags_is_zero():
    tags = all_tags(["x"], "iob2")
    emissions = np.zeros((1, 2, 3), np.float32)
    lattice = Lattice(emissions, np.array([2]), None)
    assert lattice.slot_probability(0, Slot("city", 0, 1), TagDecoder(tags, "iob2")) == 0
    assert lattice.slot_probability(0, Slot("x", 0, 1), TagDecoder(tags, "iob2")) > 0


@pytest.mark.parametrize("length", [500, 4000])
def test_confidence_of_long_flat_sentences_stays_exact(length):
    random = np.random.default_rng(length)
    tags = all_tags(["x", "y"], "iob2")
    decoder = TagDecoder(tags, "iob2")
    transitions = learned(tags, "iob2", random)
    emissions = random.normal(scale=0.3, size=(2, length, len(tags))).astype(np.float32)
    lengths = np.array([length, length // 2])
    paths = decode(emissions, lengths, transitions)
    slots = [decoder(path) for path in paths]
    confidences = slot_confidences(Scores(emissions, transitions), lengths, paths, slots, decoder)
    expected = marginals(emissions, lengths, transitions)
    lattice = Lattice(emissions, lengths, transitions)
    actual = lattice.forward * lattice.backward
    for row in range(2):
        own = actual[: lengths[row], row]
        np.testing.assert_allclose(own, expected[row, : lengths[row]], atol=1e-5)
        by_definition = [lattice.slot_probability(row, slot, decoder) for slot in slots[row]]
        assert confidences[row].slots == pytest.approx(by_definition, abs=1e-5)
        assert 0 <= confidences[row].reading < 1e-6
        assert all(0 < probability < 1 for probability in confidences[row].slots)


@pytest.mark.parametrize("scale", [0.01, 1, 5, 30])
@pytest.mark.parametrize("temperature", [0.5, 1, 2, 8])
@pytest.mark.parametrize("length", [1, 2, 12, 24, 36, 70, 300])
def test_one_sentence_has_the_tags_and_confidences_of_a_batch(length, temperature, scale):
    tags = all_tags(["x", "y"], "iob2")
    decoder = TagDecoder(tags, "iob2")
    for seed in range(6):
        random = np.random.default_rng(seed)
        start, matrix, end = vars(
            TRANSITIONS["crf" if seed % 2 else "constrained"](tags, "iob2", random)
        ).values()
        # Sums that are not scaled overflow, or become too small to be precise.
        transitions = Transitions(start, matrix + (0, 3, -3)[seed % 3] * temperature, end)
        emissions = random.normal(scale=scale, size=(1, length, len(tags))).astype(np.float32)
        # A tag that a rule rules out, and a token whose legal tags score far less than another.
        emissions[0, 0, 1:3] = -1e4
        emissions[0, -1, 4] += 50 * (seed == 3)
        lengths = np.array([length])
        paths = decode(emissions, lengths, transitions)
        slots = [decoder(path) for path in paths]
        scores = Scores(emissions.astype(np.float64), transitions)
        (expected,) = slot_confidences(scores, lengths, paths, slots, decoder, temperature)
        lattice = find_tags(Scores(emissions, transitions), lengths, decoder, temperature)
        assert lattice.tags == paths
        (actual,) = lattice.confidences(slots, decoder)
        assert actual.slots == pytest.approx(expected.slots, abs=1e-5)
        assert actual.reading == pytest.approx(expected.reading, abs=1e-5)


@pytest.mark.parametrize("scale", [0.01, 1, 5, 30])
@pytest.mark.parametrize("temperature", [0.5, 1, 2])
@pytest.mark.parametrize("kind", TRANSITIONS)
def test_tags_found_with_their_probabilities_are_those_of_viterbi(kind, temperature, scale):
    tags = all_tags(["x", "y"], "iob2")
    for seed in range(10):
        random = np.random.default_rng(seed)
        transitions = TRANSITIONS[kind](tags, "iob2", random)
        emissions = random.normal(scale=scale, size=(9, 6, len(tags))).astype(np.float32)
        emissions[0, 0, 1:3] = -1e4
        lengths = random.integers(1, 7, 9)
        scores = Scores(emissions, transitions)
        lattice = find_tags(scores, lengths, TagDecoder(tags, "iob2"), temperature)
        assert lattice.tags == decode(emissions, lengths, transitions)


def test_confidence_of_a_beam_search_is_the_share_of_its_hypotheses():
    tags = all_tags(["x"], "iob2")
    decoder = TagDecoder(tags, "iob2")
    # x x, x _ and _ _ with probabilities 0.5, 0.25 and 0.25 of what the beam holds.
    hypotheses = Hypotheses([[1, 2], [1, 0], [0, 0]], np.log([0.2, 0.1, 0.1]))
    scores = Scores(np.zeros((1, 2, 3)), hypotheses=[hypotheses])
    (confidence,) = slot_confidences(scores, np.array([2]), [[1, 2]], [decoder([1, 2])], decoder)
    assert confidence.slots == pytest.approx([0.5])
    assert confidence.reading == pytest.approx(0.5)


def test_confidence_of_a_beam_search_is_at_most_1():
    tags = all_tags(["x"], "iob2")
    decoder = TagDecoder(tags, "iob2")
    random = np.random.default_rng(0)
    for _ in range(300):
        hypotheses = Hypotheses([[1, 0, 0]] * 7, random.normal(size=7))
        (path, *_), slots = hypotheses.paths, decoder(hypotheses.paths[0])
        scores = Scores(np.zeros((1, 3, 3)), hypotheses=[hypotheses])
        (confidence,) = slot_confidences(scores, np.array([3]), [path], [slots], decoder)
        assert all(0 <= probability <= 1 for probability in confidence.slots)


def test_intent_confidence_is_that_of_exactly_the_predicted_set():
    logits = np.array([[0.0, np.log(3)], [2.0, -1.0]], np.float32)
    assert intent_confidences(logits, [[1], [0]], False)[0] == pytest.approx(0.75)
    assert intent_confidences(logits, [[0], [0]], False)[0] == pytest.approx(0.25)
    single = intent_probabilities(logits, True)
    both, first = intent_confidences(logits, [[0, 1], [0]], True)
    empty = (1 - single).prod(axis=1)
    assert both == pytest.approx(0.5 * 0.75 / (1 - empty[0]))
    assert first == pytest.approx(single[1, 0] * (1 - single[1, 1]) / (1 - empty[1]))
    (unlikely,) = intent_confidences(np.array([[-900.0, -901.0]]), [[0]], True)
    assert 0 <= unlikely <= 1


def test_a_higher_temperature_brings_probabilities_closer_to_each_other():
    logits = np.array([[3.0, 1.0, 0.0]])
    sharp, plain, flat = (intent_probabilities(logits, False, t)[0, 0] for t in (0.5, 1, 3))
    assert sharp > plain > flat > 1 / 3


@pytest.mark.parametrize("kind", TRANSITIONS)
@pytest.mark.parametrize("count", [1, 2, 5, 1000])
@pytest.mark.parametrize(("names", "scale"), [("xy", 1), ("abcdef", 0.1), ("abcdef", 9)])
def test_nbest_is_the_head_of_all_sequences_by_score(kind, count, names, scale):
    random = np.random.default_rng(count)
    tags = all_tags([*names], "iob2")
    transitions = TRANSITIONS[kind](tags, "iob2", random)
    for length in (1, 2, 4 if names == "xy" else 3):
        emissions = random.normal(size=(length, len(tags))).astype(np.float32)
        emissions *= scale
        best = decode_nbest(emissions, transitions, count)
        sequences, probabilities = sequence_probabilities(emissions, transitions, 1.0)
        order = np.argsort(-probabilities, kind="stable")[:count]
        order = order[probabilities[order] > 0]
        assert best.paths == [list(sequences[index]) for index in order]
        ratios = np.exp(best.logp - best.logp[0])
        assert ratios == pytest.approx(probabilities[order] / probabilities[order[0]], rel=1e-4)
        assert best.paths[0] == decode(emissions[None], np.array([length]), transitions)[0]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", TRANSITIONS)
def test_slots_are_predicted_given_what_rules_fill(kind, scheme):
    """Decoding and confidence are of the tag sequences that are outside where a rule fills."""
    random = np.random.default_rng(len(scheme))
    vocab = Vocab({}, all_tags(["x"], scheme), scheme)
    rule = {"slot": "number", "action": "fill", "pattern": "two"}
    vocab.values = KnownValues({"rules": [rule]})
    sentence = Tokenizer().tokenize("one two three four")
    for _ in range(10):
        emissions = 2 * random.normal(size=(4, len(vocab.tags))).astype(np.float32)
        transitions = TRANSITIONS[kind](vocab.tags, scheme, random)

        class Fixed(Engine):
            indexers, is_multi_intent = (), False

            def scores(self, batch, *, fixed=(emissions, transitions)):
                return Scores(fixed[0][None].copy(), fixed[1])

        paths, probabilities = sequence_probabilities(emissions, transitions, 1.0)
        allowed = [path[1] == vocab.tag_ids["O"] for path in paths]
        probabilities = probabilities * allowed / probabilities[allowed].sum()
        readings = list(map(vocab.tags_to_slots, paths))
        expected = {
            slot: sum(
                p for p, reading in zip(probabilities, readings, strict=True) if slot in reading
            )
            for slot in readings[int(probabilities.argmax())]
        }
        found = predict(Fixed(), vocab, [sentence], UNCALIBRATED)
        confidences = dict(zip(found.slots[0], found.confidences[0].slots, strict=True))
        assert confidences.pop(Slot("number", 1, 2)) == 1
        assert confidences == pytest.approx(expected, abs=1e-5)
