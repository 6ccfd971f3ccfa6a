"""Distillation of runs: what teachers predict for the sentences that a student learns from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slotfill.config.builtin import default_config, load_config
from slotfill.config.models import Config, DistilConfig
from slotfill.config.validate import parse_config
from slotfill.data.augmentation import replace_mentions
from slotfill.data.batching import bucket_batches, make_batch
from slotfill.data.corpus import read_sentences
from slotfill.data.formats.jsonl import Jsonl
from slotfill.data.json_objects import JsonObject, read_row_objects, shorten
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import MAX_TOKENS, Sentence, Slot, check_size, intent_names
from slotfill.data.splits import read_text
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError, UsageError, did_you_mean
from slotfill.inference.confidence import softmax
from slotfill.inference.decoding import Scores, Transitions
from slotfill.inference.marginals import average_scores, tag_marginals
from slotfill.inference.tagging import BATCH_SIZE, BATCH_TOKENS
from slotfill.runs.load import Run, load_run, open_run, parse_run_config
from slotfill.training.distillation import SoftTarget, one_hot

STUDENT: dict[str, Any] = {
    "embedding": [
        {"name": "word", "size": 48},
        {"name": "char_cnn", "filters": 32},
        {"name": "ngrams", "size": 48},
    ],
    "encoder": {"name": "recurrent", "hidden_size": 80},
    "train": {"language_model_weight": 0.1},
}
"""The network of a student without a config of its own: that of the `small` recipes."""

_AVERAGED_TAGGERS = {"crf", "softmax"}
"""The taggers whose scores can be averaged."""

_SHARED = ("scheme", "threshold", "thresholds", "intent_threshold", "rules", "synonyms", "resolve")
"""What such a student has of the config of its first teacher, besides data and intents."""


def student_config(
    config: str | None, overrides: Sequence[str], distil: Mapping[str, Any]
) -> tuple[str, Config]:
    """Return the name and the config of a student with the section `distil`.

    Without a `config` its data, and whether intents are learned, are those of the first teacher
    that is a run, and its network is `STUDENT`. Raises what `load_config` raises, and UsageError if
    there is no such run.
    """
    words = [*overrides, *(f"distil.{key}={json.dumps(value)}" for key, value in distil.items())]
    runs = [path for path in map(Path, distil["teachers"]) if not _is_predictions(path)]
    own: dict[str, Any] = {}
    if runs:
        files = open_run(runs[0])
        config_file = files["config.yaml"]
        dumped = parse_run_config(config_file, files.path, is_packed=files.is_packed).model_dump()
        own = {"data": dumped["data"]}
    if config is not None:
        name, loaded = load_config(config, words)
        if own and not (loaded.data.path or loaded.data.train):
            words = [f"data={json.dumps(own['data'])}", *words]
        return load_config(config, words, need_data=True)
    if not runs and default_config(overrides):
        raise UsageError(
            "no sentences to train the student on; give a run as a teacher, --config CONFIG, or"
            " data.path=FOLDER_OR_FILE"
        )
    if runs:
        own |= {key: dumped[key] for key in _SHARED}
        if dumped["intent"]:
            own["intent"] = dumped["intent"]["name"]
    source = f"config of {runs[0]}" if runs else "command line"
    name = f"{runs[0].resolve().stem}-student" if runs else "student"
    return name, parse_config(json.dumps(own | STUDENT), source, words, Path(), need_data=True)


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


@dataclass(slots=True)
class Lesson:
    """The sentences that a student learns from, and the teachers that label them."""

    teachers: list[Teacher]
    sentences: list[Sentence]
    """First the labelled ones, then the others, whose slots are not known yet."""
    labelled: int
    """The number of labelled ones."""
    augmented: int
    """The number of the last ones that are made from labelled ones."""

    @property
    def originals(self) -> list[Sentence]:
        """The sentences without those that are made from others."""
        return self.sentences[: len(self.sentences) - self.augmented]

    @property
    def tags(self) -> list[str]:
        """The tags that teachers predict."""
        return list(dict.fromkeys(tag for teacher in self.teachers for tag in teacher.tags))

    def targets(self, config: Config, vocab: Vocab) -> list[SoftTarget]:
        """Return what the student learns of each sentence, and give the others their slots.

        Raises DataError where no teacher predicts what labels do not say.
        """
        lengths = [len(sentence.tokens) for sentence in self.sentences]
        targets: dict[int, SoftTarget] = {}
        for indices in bucket_batches(lengths, BATCH_SIZE, max_tokens=BATCH_TOKENS):
            batch = [self.sentences[index] for index in indices]
            mean = average([teacher.predict(batch, vocab) for teacher in self.teachers])
            for row, index in enumerate(indices):
                targets[index] = self._target(config, vocab, index, mean, row)
        return [targets[index] for index in range(len(self.sentences))]

    def _target(
        self, config: Config, vocab: Vocab, index: int, mean: Distributions, row: int
    ) -> SoftTarget:
        """Return the target of a sentence, whose predictions are a row of `mean`."""
        sentence = self.sentences[index]
        marginals, pairs = mean.marginals[row, : len(sentence.tokens)], mean.pairs[row]
        intents = None if mean.intents is None else mean.intents[row]
        is_known, is_labelled = bool(mean.teachers[row]), index < self.labelled
        has_gold = is_labelled and not sentence.unknown
        if not is_known and not has_gold:
            problem = "no teacher predicts this sentence, whose labels are not known"
            raise DataError(f"{sentence.location}: {problem}; leave it out")
        if not is_labelled:
            sentence.slots = [
                slot
                for slot in vocab.tags_to_slots(marginals.argmax(axis=1).tolist())
                if {*slots_to_tags([slot], slot.end, vocab.scheme)} <= vocab.tag_ids.keys()
            ]
        weight = config.distil.weight if is_known else 0.0
        if has_gold:
            tags = slots_to_tags(sentence.slots or [], len(sentence.tokens), vocab.scheme)
            gold = one_hot([vocab.tag_ids[tag] for tag in tags], len(vocab.tags))
            marginals = (1 - weight) * gold[0] + weight * marginals
            pairs = (1 - weight) * gold[1] + weight * pairs
        if vocab.intents:
            has_intents = intents is not None and bool(intents.any())
            if is_labelled:
                (own,) = vocab.intent_targets([sentence])
                weight = weight if has_intents else 0.0
                intents = own if intents is None else (1 - weight) * own + weight * intents
            elif not has_intents:
                raise UsageError(
                    "no teacher predicts intents, which the student learns; set intent=null"
                )
            intents = np.asarray(intents, np.float32)
        return SoftTarget.from_arrays(marginals, pairs, intents if vocab.intents else None)


def prepare(config: Config, labelled: Sequence[Sentence], tokenizer: Tokenizer) -> Lesson:
    """Return what the student of `config` learns from, besides the `labelled` sentences.

    Raises what `load_run` raises, UsageError for teachers that do not fit, and DataError for files
    that cannot be read.
    """
    distil = config.distil
    slot_names = sorted({slot.name for each in labelled for slot in each.slots or ()})
    teachers: list[Teacher] = []
    others: list[Sentence] = []
    seen = {tuple(sentence.tokens) for sentence in labelled}

    def add(sentences: Iterable[Sentence]) -> None:
        for sentence in sentences:
            tokens = tuple(sentence.tokens)
            if tokens and tokens not in seen:
                seen.add(tokens)
                check_size(len(tokens), "token", MAX_TOKENS, sentence.location)
                others.append(sentence)

    for path in map(Path, distil.teachers):
        if _is_predictions(path):
            predictions = FileTeacher(path, config, tokenizer)
            _check_slots(path, predictions.slot_names, slot_names)
            add(predictions.sentences)
            teachers.append(predictions)
            continue
        run = load_teacher(path, config, tokenizer)
        _check_slots(path, run.vocab.slot_names, slot_names)
        for name in slot_names:
            if name not in run.vocab.slot_names:
                raise UsageError(
                    f"{path}: does not know the slot '{name}' of the training sentences"
                    f"{did_you_mean(name, run.vocab.slot_names)}"
                )
        if not any(isinstance(each, RunTeacher) and each.add(run) for each in teachers):
            teachers.append(RunTeacher(run, distil.temperature))
    if distil.text:
        if all(isinstance(teacher, FileTeacher) for teacher in teachers):
            raise UsageError(
                f"distil.text: {distil.text} needs a run among the teachers: files of predictions"
                " have no others"
            )
        add(read_text(distil.text, config.data, tokenizer))
    augmented = replace_mentions(labelled, distil.augment, config.train.seed)
    return Lesson(teachers, [*labelled, *others, *augmented], len(labelled), len(augmented))


def _is_predictions(path: Path) -> bool:
    """Return whether a teacher is a file of predictions, not a run."""
    return path.suffix in Jsonl.suffixes and not path.is_dir()


def describe_teachers(distil: DistilConfig) -> list[dict[str, str]]:
    """Return the teachers as a run records them: each with its path and the hash of its files."""
    return [{"path": path, "sha256": _checksum(Path(path))} for path in distil.teachers]


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file of predictions, or of the manifest of a run."""
    return (
        sha256(path.read_bytes()).hexdigest() if _is_predictions(path) else open_run(path).checksum
    )


def _check_slots(path: Path, predicted: Sequence[str], labelled: Sequence[str]) -> None:
    """Raise UsageError if a teacher predicts a slot that the student does not learn."""
    for name in predicted:
        if name not in labelled:
            raise UsageError(
                f"{path}: predicts the slot '{name}', which no training sentence of the student"
                f" has{did_you_mean(name, labelled)}"
            )


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
