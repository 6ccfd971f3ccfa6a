"""Predict the slots and intents of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nlargest
from typing import NamedTuple

import numpy as np

from slotfill.data.batching import bucket_batches, make_batch
from slotfill.data.sentence import (
    MAX_TOKENS,
    Confidence,
    Reading,
    Sentence,
    Slot,
    check_size,
)
from slotfill.data.vocab import Vocab
from slotfill.inference.calibration import Calibration
from slotfill.inference.confidence import (
    in_domain_score,
    intent_confidences,
    intent_probabilities,
    slot_confidences,
)
from slotfill.inference.decoding import Scores, select_intents
from slotfill.inference.engine import Engine
from slotfill.inference.lattice import Lattice, SentenceLattices, find_tags
from slotfill.inference.readings import apply_rules, best_intents, best_slots

BATCH_SIZE = 128
BATCH_TOKENS = 1024
"""Largest batch, with padding: more is not faster, and the states of an LSTM take memory."""

_IMPOSSIBLE = -1e4
"""The score of a tag that a rule rules out."""

MAX_CANDIDATES = 5
"""Intents that are given instead of one that is below its threshold."""


_EMPTY_READING = (Reading([], None, 1.0),)
"""The only reading of a sentence without tokens."""


class TaggedBatch(NamedTuple):
    """Some of several sentences with the scores of a network, decoded."""

    indices: list[int]
    """The positions of the sentences of this batch."""
    lengths: np.ndarray
    """Their numbers of tokens, `(batch,)`."""
    scores: Scores
    tags: list[list[int]]
    """The ids of the best tags of each sentence."""
    slots: list[list[Slot]]
    """The slots that these tags are."""
    intents: list[list[int]]
    """The ids of the intents of each sentence; none without an intent head."""
    lattice: Lattice | SentenceLattices | None
    """By which the tags were found, if their probabilities are wanted too."""

    def slot_confidences(self, vocab: Vocab, temperature: float) -> list[Confidence]:
        """Return the probabilities of the slots of each sentence."""
        return slot_confidences(
            self.scores,
            self.lengths,
            self.tags,
            self.slots,
            vocab.tags_to_slots,
            temperature,
            self.lattice,
        )

    def intent_confidences(self, multi_label: bool, temperature: float) -> list[float]:
        """Return the probability of the intents of each sentence; none without an intent head."""
        logits = self.scores.intent_logits
        if logits is None:
            return []
        return intent_confidences(logits, self.intents, multi_label, temperature)

    def confidences(
        self,
        sentences: Sequence[Sentence],
        engine: Engine,
        vocab: Vocab,
        calibration: Calibration,
        nbest: int,
    ) -> Iterator[Confidence]:
        """Yield the confidence of each sentence of the batch, with `nbest` readings."""
        multi_label = engine.is_multi_intent
        slots = self.slot_confidences(vocab, calibration.slot_temperature)
        intents = self.intent_confidences(multi_label, calibration.intent_temperature)
        for row, index in enumerate(self.indices):
            probabilities, reading = slots[row][:2]
            intent = intents[row] if intents else None
            candidates: tuple[tuple[str, float], ...] = ()
            if intent is not None and intent < calibration.intent_threshold:
                candidates = self._intent_candidates(row, multi_label, vocab, calibration)
            tokens = sentences[index].tokens
            in_domain = in_domain_score(vocab.known_share(tokens), len(tokens), reading, intent)
            readings = self._readings(row, multi_label, vocab, calibration, nbest) if nbest else ()
            yield Confidence(probabilities, reading, intent, candidates, in_domain, readings)

    def _intent_candidates(
        self, row: int, multi_label: bool, vocab: Vocab, calibration: Calibration
    ) -> tuple[tuple[str, float], ...]:
        """Return the most probable intents of a sentence, each with its probability."""
        assert self.scores.intent_logits is not None
        logits = self.scores.intent_logits[row : row + 1]
        (probabilities,) = intent_probabilities(logits, multi_label, calibration.intent_temperature)
        best = np.argsort(-probabilities, kind="stable")[:MAX_CANDIDATES]
        return tuple((vocab.intent_names[index], float(probabilities[index])) for index in best)

    def _readings(
        self, row: int, multi_label: bool, vocab: Vocab, calibration: Calibration, count: int
    ) -> tuple[Reading, ...]:
        """Return the `count` most probable readings of a sentence."""
        length, temperature = int(self.lengths[row]), calibration.slot_temperature
        slots = best_slots(self.scores, row, length, vocab.tags_to_slots, temperature, count)
        intents: list[tuple[str | None, float]] = [(None, 1.0)]
        if self.scores.intent_logits is not None:
            best = best_intents(
                self.scores.intent_logits[row], multi_label, calibration.intent_temperature, count
            )
            intents = [(vocab.join_intents(ids), probability) for ids, probability in best]
        pairs = [
            Reading(own_slots, intent, slot_probability * intent_probability)
            for own_slots, slot_probability in slots
            for intent, intent_probability in intents
        ]
        return tuple(nlargest(count, pairs, key=lambda reading: reading.probability))


def tag_batches(
    engine: Engine, vocab: Vocab, sentences: Sequence[Sentence], temperature: float | None = None
) -> Iterator[TaggedBatch]:
    """Yield the sentences that have tokens in batches, tagged; raises DataError as `predict`.

    With the `temperature` of confidences, tags are found together with their probabilities.
    """
    nonempty = [index for index, sentence in enumerate(sentences) if sentence.tokens]
    lengths = [len(sentences[index].tokens) for index in nonempty]
    check_size(max(lengths, default=0), "token", MAX_TOKENS)
    for positions in bucket_batches(lengths, BATCH_SIZE, max_tokens=BATCH_TOKENS):
        indices = [nonempty[position] for position in positions]
        batch = make_batch([sentences[index].tokens for index in indices], engine.indexers)
        scores = engine.scores(batch)
        if vocab.values.rules:
            _exclude_filled(scores.emissions, [sentences[index] for index in indices], vocab)
        lattice = None
        if temperature is not None and scores.hypotheses is None:
            lattice = find_tags(scores, batch.lengths, vocab.tags_to_slots, temperature)
        tags = lattice.tags if lattice else scores.best_tags(batch.lengths)
        slots = list(map(vocab.tags_to_slots, tags))
        logits = scores.intent_logits
        intents = [] if logits is None else select_intents(logits, engine.is_multi_intent)
        yield TaggedBatch(indices, batch.lengths, scores, tags, slots, intents, lattice)


def _exclude_filled(emissions: np.ndarray, sentences: Sequence[Sentence], vocab: Vocab) -> None:
    """Change the `emissions` of tokens that rules fill, so that they are in no other slot."""
    others = np.arange(emissions.shape[2]) != vocab.tag_ids["O"]
    for row, sentence in zip(emissions, sentences, strict=True):
        for slot in vocab.values.rules.fill(sentence):
            row[slot.start : slot.end, others] = _IMPOSSIBLE


class Predictions(NamedTuple):
    """What is predicted for each of several sentences."""

    slots: list[list[Slot]]
    """None for a sentence without tokens."""
    intents: list[str | None]
    """None without an intent head; may join several names."""
    confidences: list[Confidence] | None = None
    """The probabilities of the slots and the intent, if they were asked for."""

    @property
    def slot_confidences(self) -> np.ndarray:
        """The probability of each slot of all sentences, `(slots,)`."""
        return np.array(
            [each for confidence in self.confidences or () for each in confidence.slots]
        )

    @property
    def intent_confidences(self) -> np.ndarray:
        """The probability of the intent of each sentence, `(sentences,)`."""
        return np.array([confidence.intent for confidence in self.confidences or ()], float)

    def above_thresholds(self, calibration: Calibration) -> Predictions:
        """Return the slots and intents whose confidences reach the thresholds."""
        if self.confidences is None or not calibration.has_thresholds:
            return self
        slots, intents = list[list[Slot]](), list[str | None]()
        confidences = list[Confidence]()
        for own_slots, intent, confidence in zip(
            self.slots, self.intents, self.confidences, strict=True
        ):
            pairs = zip(own_slots, confidence.slots, strict=True)
            kept = [pair for pair in pairs if pair[1] >= calibration.slot_threshold(pair[0].name)]
            slots.append([slot for slot, _ in kept])
            is_sure = (confidence.intent or 0) >= calibration.intent_threshold
            intents.append(intent if is_sure else None)
            confidences.append(confidence._replace(slots=[probability for _, probability in kept]))
        return Predictions(slots, intents, confidences)


def predict(
    engine: Engine,
    vocab: Vocab,
    sentences: Sequence[Sentence],
    calibration: Calibration | None = None,
    nbest: int = 0,
) -> Predictions:
    """Return the slots and the intent of each sentence, after the rules of `vocab`.

    Args:
        calibration: Also return confidences, with its temperatures.
        nbest: How many of the most probable readings are in the confidences.

    Raises:
        DataError: A sentence has more than `MAX_TOKENS` tokens.
    """
    slots: list[list[Slot]] = [[] for _ in sentences]
    intents: list[str | None] = [None] * len(sentences)
    empty = Confidence([], 1.0, in_domain=0.0, readings=_EMPTY_READING[:nbest])
    confidences = [empty] * len(sentences)
    temperature = None if calibration is None else calibration.slot_temperature
    for batch in tag_batches(engine, vocab, sentences, temperature):
        for index, own_slots in zip(batch.indices, batch.slots, strict=True):
            slots[index] = own_slots
        for index, ids in zip(batch.indices, batch.intents, strict=False):
            intents[index] = vocab.join_intents(ids)
        if calibration is not None:
            own = batch.confidences(sentences, engine, vocab, calibration, nbest)
            for index, confidence in zip(batch.indices, own, strict=True):
                confidences[index] = confidence
    if rules := vocab.values.rules:
        for index, sentence in enumerate(sentences):
            before = confidences[index].slots if calibration else [1.0] * len(slots[index])
            slots[index], after = rules.apply(sentence, slots[index], before)
            readings = apply_rules(rules, sentence, confidences[index].readings)
            confidences[index] = confidences[index]._replace(slots=after, readings=readings)
    return Predictions(slots, intents, None if calibration is None else confidences)
