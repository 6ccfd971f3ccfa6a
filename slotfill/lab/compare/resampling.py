"""Resampling of the training sentences: folds to cross-validate on, and subsets of several sizes.

What is drawn is written to files in the folder of the comparison, so that each run folder names the
sentences that it was trained and scored on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slotfill.config.sections import DataConfig
from slotfill.data.corpus import read_sentences, write_sentences
from slotfill.data.sentence import Sentence
from slotfill.data.splits import split_path
from slotfill.data.stratification import draw_folds, draw_subset
from slotfill.errors import UsageError


@dataclass(frozen=True, slots=True)
class Sample:
    """Data whose training sentences are drawn from those of a config."""

    name: str
    """The name of the corpus with how it was resampled, such as `atis-25%`."""
    data: DataConfig
    fold: int = 0
    """The number of the fold that is held out, from 1; 0 if there are no folds."""
    subset: Subset | None = None
    """The subset that was drawn, if it is one."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the training sentences of a corpus."""

    corpus: str
    sentences: int


@dataclass(frozen=True, slots=True)
class Resampling:
    """Folds, percentages of the sentences or of each fold's, or neither; `folder` is for files."""

    folder: Path
    folds: int = 0
    percentages: Sequence[int] = ()
    _drawn: dict[tuple[str, ...], list[Sample]] = field(default_factory=dict)

    def draw(self, corpus: str, data: DataConfig, seed: int) -> list[Sample]:
        """Return the samples of `data`; subsets differ between seeds, folds do not.

        Raises UsageError if there are too few sentences, or nothing to score subsets on, or the
        files hold other sentences.
        """
        key = corpus, data.model_dump_json(), str(seed) if self.percentages else ""
        if key not in self._drawn:
            samples = self._draw_folds(corpus, data) if self.folds else [Sample(corpus, data)]
            if self.percentages:
                samples = [part for sample in samples for part in self._draw_subsets(sample, seed)]
            self._drawn[key] = samples
        return self._drawn[key]

    def _draw_folds(self, corpus: str, data: DataConfig) -> list[Sample]:
        name = f"{corpus}-{self.folds}-folds"
        sentences = read_training_sentences(data)
        samples = []
        for number, held_out in enumerate(draw_folds(sentences, self.folds), start=1):
            folder = self.folder / name / f"fold{number}"
            held = set(held_out)
            rest = [index for index in range(len(sentences)) if index not in held]
            valid = split_path(data, "valid")
            paths = {
                "path": None,
                "train": self._write(folder / "train", sentences, rest, data),
                "valid": str(valid) if valid else None,
                "test": self._write(folder / "test", sentences, held_out, data),
            }
            samples.append(Sample(name, data.model_copy(update=paths), number))
        return samples

    def _draw_subsets(self, sample: Sample, seed: int) -> list[Sample]:
        data, fold = sample.data, sample.fold
        if not (split_path(data, "test") or split_path(data, "valid")):
            raise UsageError(
                f"--percentages: {sample.name} has no test sentences to score all sizes on; set"
                " data.test=FILE, or add --folds 5"
            )
        sentences = read_training_sentences(data)
        samples = []
        for percentage in sorted(self.percentages):
            name = f"{sample.name}-{percentage}%"
            size = max(1, round(len(sentences) * percentage / 100))
            changed = data
            if size < len(sentences):
                indices = draw_subset(sentences, size, seed)
                folder = self.folder / name / (f"fold{fold}" if fold else "")
                train = self._write(folder / f"train{seed}", sentences, indices, data)
                changed = data.model_copy(update={"train": train})
            samples.append(Sample(name, changed, fold, Subset(sample.name, size)))
        return samples

    def _write(
        self, path: Path, sentences: Sequence[Sentence], indices: Sequence[int], data: DataConfig
    ) -> str:
        """Write the sentences `indices` in the format of `data`, or else as JSON lines."""
        drawn = [sentences[index] for index in indices]
        if data.format == "auto":
            path = path.with_suffix(".jsonl")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            format = "jsonl" if data.format == "auto" else data.format
            write_sentences(path, drawn, format=format, scheme=data.scheme)
        if list(map(_content, _read(path, data))) != list(map(_content, drawn)):
            raise UsageError(
                f"{path}: the training sentences changed after they were drawn; remove"
                f" {path.parent}, or choose another --out"
            )
        return str(path.resolve())


def _train_path(data: DataConfig) -> Path:
    path = split_path(data, "train")
    assert path is not None
    return path


def read_training_sentences(data: DataConfig) -> Sequence[Sentence]:
    """Return the training sentences as they are in the file, whatever the tokenizer of `data`."""
    return _read(_train_path(data), data)


def _read(path: Path, data: DataConfig) -> Sequence[Sentence]:
    return read_sentences(path, format=data.format, scheme=data.scheme, keep_tokens=True).sentences


def _content(sentence: Sentence) -> tuple[object, ...]:
    spans = [(slot.name, *sentence.span(slot)) for slot in sentence.slots or ()]
    return sentence.text, spans, sentence.intent
