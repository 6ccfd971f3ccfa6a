"""Distillation of runs: what teachers predict for the sentences that a student learns from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from slotfill.config.builtin import default_config, load_config
from slotfill.config.models import Config
from slotfill.config.sections import DistilConfig
from slotfill.config.validate import parse_config
from slotfill.data.augmentation import replace_mentions
from slotfill.data.batching import bucket_batches
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import MAX_TOKENS, Sentence, check_size
from slotfill.data.splits import read_text
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError, UsageError, did_you_mean
from slotfill.files import real_path, shorten_path
from slotfill.inference.tagging import BATCH_SIZE, BATCH_TOKENS
from slotfill.runs.load import open_run, open_tagger, parse_run_config
from slotfill.runs.teachers import (
    Distributions,
    FileTeacher,
    RunTeacher,
    Teacher,
    average,
    is_predictions,
    load_teacher,
)
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
    runs = [path for path in map(Path, distil["teachers"]) if not is_predictions(path)]
    own: dict[str, Any] = {}
    if runs:
        files, *_ = [open_tagger(path) for path in runs]
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
    name = f"{real_path(runs[0]).stem}-student" if runs else "student"
    return name, parse_config(json.dumps(own | STUDENT), source, words, Path(), need_data=True)


@dataclass(slots=True)
class DistillationData:
    """The sentences that a student learns from, and the teachers that label them."""

    teachers: list[Teacher]
    sentences: list[Sentence]
    """First the labelled ones, then the others, whose slots are not known yet."""
    labelled: int
    """The number of labelled ones."""
    augmented: int
    """The number of the last ones that are made from labelled ones."""
    left_out: int
    """The number of sentences that valid or test has, of which nothing is learned."""

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


def prepare(
    config: Config,
    labelled: Sequence[Sentence],
    tokenizer: Tokenizer,
    held_out: Collection[tuple[str, ...]] = (),
) -> DistillationData:
    """Return what the student of `config` learns from, besides the `labelled` sentences.

    Sentences whose tokens are in `held_out` are left out, as they are in valid or test.

    Raises what `load_run` raises, UsageError for teachers that do not fit, and DataError for files
    that cannot be read.
    """
    distil = config.distil
    slot_names = sorted({slot.name for each in labelled for slot in each.slots or ()})
    teachers: list[Teacher] = []
    others: list[Sentence] = []
    seen = {tuple(sentence.tokens) for sentence in labelled}
    left_out: set[tuple[str, ...]] = set()

    def add(sentences: Iterable[Sentence]) -> None:
        for sentence in sentences:
            tokens = tuple(sentence.tokens)
            if tokens in held_out:
                left_out.add(tokens)
            elif tokens and tokens not in seen:
                seen.add(tokens)
                check_size(len(tokens), "token", MAX_TOKENS, sentence.location)
                others.append(sentence)

    for path in map(shorten_path, distil.teachers):
        if is_predictions(path):
            predictions = FileTeacher(path, config, tokenizer)
            for sentence in predictions.sentences:
                for slot in sentence.slots or ():
                    if problem := _find_unlearned([slot.name], slot_names):
                        raise DataError(f"{sentence.location}: {problem}")
            add(predictions.sentences)
            teachers.append(predictions)
            continue
        run = load_teacher(path, config, tokenizer)
        if problem := _find_unlearned(run.vocab.slot_names, slot_names):
            raise UsageError(f"{path}: {problem}")
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
                f"distil.text: {shorten_path(distil.text)} needs a run among the teachers:"
                " files of predictions have no others"
            )
        add(read_text(config, "distil", tokenizer))
    augmented = replace_mentions(labelled, distil.augment, config.train.seed)
    return DistillationData(
        teachers, [*labelled, *others, *augmented], len(labelled), len(augmented), len(left_out)
    )


def describe_teachers(distil: DistilConfig) -> list[dict[str, str]]:
    """Return the teachers as a run records them: each with its path and the hash of its files."""
    return [{"path": path, "sha256": _checksum(shorten_path(path))} for path in distil.teachers]


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file of predictions, or of the manifest of a run."""
    return (
        sha256(path.read_bytes()).hexdigest() if is_predictions(path) else open_run(path).checksum
    )


def _find_unlearned(predicted: Sequence[str], labelled: Sequence[str]) -> str:
    """Return what is wrong if a teacher predicts a slot that the student does not learn, or ""."""
    for name in predicted:
        if name not in labelled:
            return (
                f"predicts the slot '{name}', which no training sentence of the student has"
                f"{did_you_mean(name, labelled)}"
            )
    return ""
