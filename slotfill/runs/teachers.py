"""The teachers of distillation: what runs and files of predictions say about sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slotfill.config.models import Config
from slotfill.data.batching import make_batch
from slotfill.data.corpus import read_sentences
from slotfill.data.formats.jsonl import Jsonl
from slotfill.data.json_objects import JsonObject, read_row_objects, shorten
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, Slot, intent_names
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError, UsageError
from slotfill.inference.confidence import softmax
from slotfill.inference.decoding import Scores, Transitions
from slotfill.inference.marginals import average_scores, tag_marginals
from slotfill.runs.load import Run, load_run
from slotfill.runs.manifest import is_zip

_AVERAGED_TAGGERS = {"crf", "softmax"}
"""The taggers whose scores can be averaged."""


@dataclass(slots=True)
class Distributions:
    """What a teacher predicts for the sentences of a batch, in the tags of the student."""

    teachers: np.ndarray
    """How many teachers predict something for each sentence, `(batch,)`; all else is 0 at 0."""
    marginals: np.ndarray
    """The probability of each tag at each token, `(batch, time, tags)`."""
    pairs: np.ndarray
    """The expected counts of pairs of tags, `(batch, tags, tags)`."""
    intents: np.ndarray | None
    """The probability of each intent, `(batch, intents)`; None if it predicts none."""


class Teacher:
    """What predicts the distributions that a student learns; a subclass implements `predict`."""

    count = 1
    """How many of the teachers it stands for."""
    tags: Sequence[str] = ()
    """The tags that it may predict, besides those of the training sentences."""

    def predict(self, sentences: Sequence[Sentence], vocab: Vocab) -> Distributions:
        """Return the distributions of a batch, over the tags and intents of `vocab`."""
        raise NotImplementedError


class RunTeacher(Teacher):
    """A run, or several whose scores are averaged, each calibrated or divided by a temperature.

    The mean of scores is the geometric mean of the distributions over tag sequences, up to a
    factor, and is what an `Ensemble` predicts. So are intents, where all predict the same ones.
    """

    def __init__(self, run: Run, temperature: float | None) -> None:
        """Without `temperature` each run has that of its calibration."""
        self.runs = [run]
        self.temperature = temperature
        self.tags = run.vocab.tags

    def add(self, run: Run) -> bool:
        """Add a run and return True if its scores can be averaged with the others."""
        first = self.runs[0]
        taggers = {str(each.config.tagger["name"]) for each in (first, run)}
        same = all(
            sorted(getattr(first.vocab, key)) == sorted(getattr(run.vocab, key))
            for key in ("tags", "intent_names")
        )
        if not same or len(taggers) > 1 or not taggers <= _AVERAGED_TAGGERS:
            return False
        self.runs.append(run)
        self.count += 1
        return True

    def predict(self, sentences: Sequence[Sentence], vocab: Vocab) -> Distributions:
        first = self.runs[0].vocab
        lengths = np.array([len(sentence.tokens) for sentence in sentences])
        scores = self.score(sentences)
        marginals, pairs = tag_marginals(scores, lengths)
        tags = _selection(first.tags, vocab.tags)
        intents = None
        if (logits := scores.intent_logits) is not None and vocab.intents:
            probabilities = 1 / (1 + np.exp(-logits)) if first.is_multi_intent else softmax(logits)
            intents = probabilities @ _selection(first.intent_names, vocab.intent_names)
        return Distributions(
            np.full(len(sentences), self.count),
            marginals @ tags,
            tags.T @ pairs @ tags,
            intents,
        )

    def score(self, sentences: Sequence[Sentence]) -> Scores:
        """Return the mean scores of a batch, over the tags and intents of the first run."""
        return average_scores([self._score(run, sentences) for run in self.runs])

    def _score(self, run: Run, sentences: Sequence[Sentence]) -> Scores:
        """Return the scores of a run, divided by its temperature, in the order of the first's."""
        first, own = self.runs[0].vocab, run.vocab
        batch = make_batch([sentence.tokens for sentence in sentences], run.engine.indexers)
        scores = run.engine.scores(batch)
        tags = [own.tag_ids[tag] for tag in first.tags]
        temperature = self.temperature or run.calibration.slot_temperature
        emissions, transitions = scores.emissions[..., tags] / temperature, scores.transitions
        if transitions is not None:
            transitions = Transitions(
                transitions.start[tags] / temperature,
                transitions.matrix[np.ix_(tags, tags)] / temperature,
                transitions.end[tags] / temperature,
            )
        logits = scores.intent_logits
        if logits is not None:
            order = [own.intent_names.index(name) for name in first.intent_names]
            logits = logits[:, order] / (self.temperature or run.calibration.intent_temperature)
        hypotheses = scores.hypotheses and [
            each._replace(logp=each.logp / temperature) for each in scores.hypotheses
        ]
        return Scores(emissions, transitions, logits, hypotheses)


def load_teacher(path: Path, config: Config, tokenizer: Tokenizer) -> Run:
    """Load a run; raises UsageError if its tags or tokens are not those of a student."""
    run = load_run(path)
    own = run.vocab
    if own.scheme != config.scheme:
        raise UsageError(
            f"{path}: predicts tags of the scheme {own.scheme}, and the student of"
            f" {config.scheme}; set scheme={own.scheme}"
        )
    if own.tokenizer.to_json() != tokenizer.to_json():
        name = own.tokenizer.name
        hint = f"set data.tokenizer={name}"
        if name == tokenizer.name:
            hint = "teachers and student need the same normalization, prefixes and suffixes"
        raise UsageError(
            f"{path}: its tokenizer, {name}, splits texts differently from the student's,"
            f" {tokenizer.name}; {hint}"
        )
    return run


class FilePrediction(NamedTuple):
    """The labels of a sentence with their probabilities, independent of each other."""

    slots: Sequence[Slot]
    confidences: Sequence[float]
    intent: str | None
    intent_confidence: float

    def fill(self, vocab: Vocab, marginals: np.ndarray, pairs: np.ndarray) -> None:
        """Set the marginals `(time, tags)` and the expected counts of pairs `(tags, tags)`."""
        outside = vocab.tag_ids["O"]
        marginals[:, outside] = 1
        is_inside = np.zeros(len(marginals), bool)
        for slot, confidence in zip(self.slots, self.confidences, strict=True):
            tags = slots_to_tags([slot], slot.end, vocab.scheme)[slot.start :]
            ids = [vocab.tag_ids[tag] for tag in tags]
            marginals[slot.start : slot.end, outside] = 1 - confidence
            marginals[np.arange(slot.start, slot.end), ids] += confidence
            np.add.at(pairs, (ids[:-1], ids[1:]), confidence)
            pairs[outside, outside] += (1 - confidence) * (len(ids) - 1)
            is_inside[slot.start + 1 : slot.end] = True
        for time in np.flatnonzero(~is_inside[1:]) + 1:
            pairs += np.outer(marginals[time - 1], marginals[time])


def _read_prediction(sentence: Sentence, row: Mapping[str, Any]) -> FilePrediction:
    """Return a prediction; a slot without a confidence has that of its sentence, or is certain.

    Raises DataError for a confidence that is no probability.
    """

    def probability(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 1:
            found = "expected a number from 0 to 1 as a confidence, found"
            raise DataError(f"{sentence.location}: {found} {shorten(value)}")
        return float(value)

    slots = row.get("slots")
    own = {
        (slot.get("name"), slot.get("start"), slot.get("end")): slot.get("confidence")
        for slot in (slots if isinstance(slots, list) else [])
    }
    general = row.get("confidence", 1.0)
    confidences = [own.get((slot.name, *sentence.span(slot))) for slot in sentence.slots or ()]
    return FilePrediction(
        sentence.slots or (),
        [probability(general if each is None else each) for each in confidences],
        sentence.intent,
        probability(row.get("intent_confidence", 1.0)),
    )


class FileTeacher(Teacher):
    """Predictions in JSON lines, of any tool.

    A slot with the confidence c is one with the probability c, and else its tokens are in none.
    """

    def __init__(self, path: Path, config: Config, tokenizer: Tokenizer) -> None:
        """Read the predictions.

        Raises DataError for a slot that begins or ends inside a token, or a confidence that is no
        probability.
        """
        self.sentences = read_sentences(
            path, format="jsonl", tokenizer=tokenizer, misaligned="error"
        ).sentences
        self.slot_names = sorted({s.name for each in self.sentences for s in each.slots or ()})
        tags = (
            slots_to_tags(each.slots or [], len(each.tokens), config.scheme)
            for each in self.sentences
        )
        self.tags = list(dict.fromkeys(chain.from_iterable(tags)))
        objects = [row for row in read_row_objects(path) if isinstance(row, JsonObject)]
        rows = {row.location: row.items for row in objects}
        self.predictions = {
            tuple(sentence.tokens): _read_prediction(sentence, rows[sentence.location])
            for sentence in self.sentences
        }

    def predict(self, sentences: Sequence[Sentence], vocab: Vocab) -> Distributions:
        time, tags = max(len(each.tokens) for each in sentences), len(vocab.tags)
        known = np.zeros(len(sentences), int)
        marginals = np.zeros((len(sentences), time, tags))
        pairs = np.zeros((len(sentences), tags, tags))
        intents = np.zeros((len(sentences), len(vocab.intent_names)))
        for row, sentence in enumerate(sentences):
            prediction = self.predictions.get(tuple(sentence.tokens))
            if prediction is None:
                continue
            known[row] = 1
            prediction.fill(vocab, marginals[row, : len(sentence.tokens)], pairs[row])
            ids = np.isin(vocab.intent_names, intent_names(prediction.intent))
            if ids.any():
                share = prediction.intent_confidence
                others = 0.0 if vocab.is_multi_intent else (1 - share) / max(1, len(ids) - 1)
                intents[row] = np.where(ids, share, others)
        return Distributions(known, marginals, pairs, intents if intents.any() else None)


def average(predictions: Sequence[Distributions]) -> Distributions:
    """Return the mean over the teachers that predict a sentence, and over those with intents."""
    counts = np.array([each.teachers for each in predictions], np.float32)
    shares = (counts / np.maximum(counts.sum(axis=0), 1))[..., None, None]
    intents = None
    pairs = zip(predictions, counts, strict=True)
    having = [(each.intents, own) for each, own in pairs if each.intents is not None]
    if having:
        weights = np.array([own * each.any(axis=1) for each, own in having])
        weights /= np.maximum(weights.sum(axis=0), 1)
        intents = np.sum([each for each, _ in having] * weights[..., None], axis=0)
    return Distributions(
        counts.sum(axis=0),
        np.sum([each.marginals for each in predictions] * shares, axis=0),
        np.sum([each.pairs for each in predictions] * shares, axis=0),
        intents,
    )


def _selection(names: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return the matrix `(names, wanted)` that moves a value at each name to its place."""
    places = {name: index for index, name in enumerate(wanted)}
    matrix = np.zeros((len(names), len(wanted)), np.float32)
    for index, name in enumerate(names):
        if name in places:
            matrix[index, places[name]] = 1
    return matrix


def is_predictions(path: Path) -> bool:
    """Return whether a teacher is a file of predictions; raises UsageError for other files."""
    found = path.suffix in Jsonl.suffixes and not path.is_dir()
    if not found and path.is_file() and not is_zip(path):
        raise UsageError(
            f"{path}: not a teacher; give run folders, packed runs (.zip), or JSON lines of"
            " predictions (.jsonl)"
        )
    return found
