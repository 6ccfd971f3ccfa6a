"""Prediction with a run: texts in, slots and intents out, as a list or as a stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slotfill.config.registry import FORMATS, raise_part_error
from slotfill.data.formats.base import Format
from slotfill.data.formats.jsonl import Jsonl
from slotfill.data.sentence import (
    MAX_CHARACTERS,
    MAX_TOKENS,
    Example,
    Sentence,
    check_size,
)
from slotfill.errors import DataError, RunError, UsageError
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.inference.stream import ordered_map, read_ahead
from slotfill.inference.tagging import predict
from slotfill.paths import to_path
from slotfill.runs.device import EngineName
from slotfill.runs.load import Run, load_run
from slotfill.runs.manifest import VALUES

if TYPE_CHECKING:
    from slotfill.evaluation.metrics import EvaluationResult

MAX_NBEST = 100
"""Maximum number of readings of a sentence."""

CHUNK = 2048
"""Maximum number of sentences in a group; a stream holds a few groups in memory."""


Text = str | Example
"""A text to predict, alone or with its location and what else its file has."""


class Rendered(NamedTuple):
    """A group of predictions as they are written."""

    text: str
    notes: list[str]
    """What of them the format cannot hold, and is left out."""


class FilledSlot(NamedTuple):
    """A slot of a text: `value` is `text[start:end]`."""

    name: str
    value: str
    start: int
    end: int
    confidence: float | None = None
    """The probability that exactly this is a slot of this name; None if it is turned off."""
    resolved: str | None = None
    """What the value stands for, such as Taipei for TPE, if the run knows it."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for a text."""

    text: str
    slots: tuple[FilledSlot, ...]
    """Its slots, in order."""
    intent: str | None = None
    """Its intent, or several such as `flight#airfare`; None for a run or a text without."""
    intent_confidence: float | None = None
    """The probability of the intent."""
    confidence: float | None = None
    """The probability of the slots together."""
    intents: tuple[tuple[str, float], ...] = ()
    """Where the intent is below its threshold: the most probable ones with their probabilities."""
    in_domain: float | None = None
    """How much the text is like those of training, from 0 to 1."""
    readings: tuple[Prediction, ...] = ()
    """The most probable readings, each with its probability as its confidence."""

    @classmethod
    def from_sentence(cls, sentence: Sentence) -> Prediction:
        """Return the slots and the intent of a tagged sentence."""
        confidence = sentence.confidence
        text, offsets = sentence.text, sentence.offsets
        slots = []
        for (name, first, last), probability, resolved in zip(
            sentence.slots or (),
            repeat(None) if confidence is None else confidence.slots,
            sentence.resolved or repeat(None),
            strict=False,
        ):
            start, end = offsets[first][0], offsets[last - 1][1]
            slots.append(FilledSlot(name, text[start:end], start, end, probability, resolved))
        if confidence is None:
            return cls(sentence.text, tuple(slots), sentence.intent)
        return cls(
            sentence.text,
            tuple(slots),
            sentence.intent,
            confidence.intent,
            confidence.reading,
            confidence.candidates,
            confidence.in_domain,
            tuple(
                replace(
                    cls.from_sentence(sentence.with_reading(reading)),
                    confidence=reading.probability,
                )
                for reading in confidence.readings
            ),
        )


class Predictor:
    """Prediction with a trained run; `threads` is how many threads `stream` uses.

    Dates such as `tomorrow` are relative to `now`, by default the time when this is created.
    """

    def __init__(
        self,
        run: Run,
        confidence: bool = True,
        nbest: int = 0,
        now: datetime | None = None,
    ) -> None:
        """Predict with `run`, with probabilities or not, and with the `nbest` best readings."""
        if not isinstance(nbest, int) or not 0 <= nbest <= MAX_NBEST:
            raise UsageError(f"nbest is {nbest!r}; it must be an integer from 0 to {MAX_NBEST}")
        if nbest and not confidence:
            raise UsageError("nbest gives readings with their probabilities; omit confidence=False")
        if not isinstance(now, datetime | None):
            raise UsageError(f"now is {now!r}; it must be a datetime, as datetime(2026, 11, 27)")
        self.run = run
        self.nbest = nbest
        values = run.vocab.values
        try:
            self.resolver = values.resolver(now or datetime.now()) if values.can_resolve else None
        except ValueError as error:
            raise RunError(f"{run.files.path / VALUES}: {error}; train the run again") from None
        self.confidence = confidence
        needed = confidence or run.calibration.has_thresholds
        self.calibration = run.calibration if needed else None
        # ONNX Runtime releases Python's global lock while it computes; torch does so less.
        self.threads = min(2, _num_processors()) if isinstance(run.engine, OnnxEngine) else 1

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "cpu",
        engine: EngineName = "auto",
        confidence: bool = True,
        nbest: int = 0,
        now: datetime | None = None,
        **thresholds: Any,
    ) -> Predictor:
        """Return the predictor of the run `path`.

        `thresholds` are those of `Run.set_thresholds`. Raises what that and `load_run` raise.
        """
        run = load_run(to_path(path), device, engine)
        run.set_thresholds(**thresholds)
        return cls(run, confidence, nbest, now)

    @property
    def scores(self) -> dict[str, EvaluationResult]:
        """The scores that training has measured, by split; a packed run has none."""
        return self.run.scores

    def predict(self, texts: Iterable[str]) -> list[Prediction]:
        """Return the prediction for each of `texts`, in order; an empty text has no slots."""
        return [Prediction.from_sentence(sentence) for sentence in self.tag(_check_texts(texts))]

    def tag(self, texts: Sequence[Text]) -> list[Sentence]:
        """Return `texts` as sentences with slots and intents."""
        sentences = list(map(self._tokenize, texts))
        try:
            predictions = predict(
                self.run.engine, self.run.vocab, sentences, self.calibration, self.nbest
            )
        except (Exception, SystemExit) as error:
            raise_part_error(error)
            raise
        if self.calibration is not None:
            predictions = predictions.above_thresholds(self.calibration)
        slots, intents, confidences = predictions
        for sentence, own_slots, intent in zip(sentences, slots, intents, strict=True):
            sentence.slots, sentence.intent = own_slots, intent
        for sentence, confidence in zip(sentences, confidences or (), strict=False):
            sentence.intent_left_out = bool(confidence.candidates)
            sentence.confidence = confidence if self.confidence else None
        if self.resolver is not None:
            for sentence in sentences:
                sentence.resolved = self.resolver.resolve(sentence)
        return sentences

    def _tokenize(self, text: Text) -> Sentence:
        example = Example(text) if isinstance(text, str) else text
        check_size(len(example.text), "character", MAX_CHARACTERS, example.location)
        sentence = self.run.vocab.tokenizer.tokenize(example.text, example.location)
        check_size(len(sentence.tokens), "token", MAX_TOKENS, example.location)
        sentence.extra = example.extra
        return sentence

    def check_lengths(self, texts: Iterable[Example]) -> Iterator[Example]:
        """Yield `texts`; raises DataError at one that is too long to be tagged."""
        for text in texts:
            if len(text.text) > MAX_TOKENS:  # No sentence has more tokens than characters.
                self._tokenize(text)
            yield text

    def stream(self, texts: Iterable[Text]) -> Iterator[list[Sentence]]:
        """Yield the tagged sentences of `texts` in order, in groups, as soon as they are tagged.

        A short list is one group and needs no thread. Otherwise two threads work on two groups at
        a time, so that one is computed while the other is read, decoded or written.
        """
        if isinstance(texts, list) and len(texts) <= CHUNK:
            yield self.tag(texts)
        elif self.threads == 1:
            yield from map(self.tag, read_ahead(texts, CHUNK))
        else:
            with ThreadPoolExecutor(self.threads) as workers:
                yield from ordered_map(self.tag, read_ahead(texts, CHUNK), workers)

    def render_stream(
        self, texts: Iterable[Text], format: str, note: Callable[[str], None] = lambda message: None
    ) -> Iterator[str]:
        """Yield the tagged `texts` in order, group by group, as they are written in `format`.

        `note` is called with each thing that the format cannot hold.
        """
        part: Format = FORMATS.build(format)
        yield from join_groups(part, (self.render(each, part) for each in self.stream(texts)), note)

    def render(self, sentences: Sequence[Sentence], format: Format) -> Rendered:
        """Return `sentences` as they are written in `format`, without those it cannot hold."""
        texts, notes, lost = [], list[str](), dict[str, None]()
        for sentence in sentences:
            try:
                text = format.render(sentence, scheme=self.run.scheme)
                if "\0" in text:  # No file of text has one.
                    where = f"{sentence.location}: " if sentence.location else ""
                    raise DataError(f"{where}a NUL in the sentence; --format jsonl holds it")
                texts.append(text)
            except DataError as error:
                notes.append(f"{error} (left out)")
            for key in sentence.extra or ():
                if not format.holds_extra(key):
                    lost[key] = None
        if lost:
            names = ", ".join(lost)
            hint = "" if isinstance(format, Jsonl) else "; --format jsonl has"
            notes.append(f"the output has no place for {names} of the input{hint}")
        return Rendered(format.frame[1].join(texts), notes)


def join_groups(
    format: Format, groups: Iterable[Rendered], note: Callable[[str], None]
) -> Iterator[str]:
    """Yield a file of `groups`, and call `note` once with each of their notes."""
    last: list[str] = []

    def texts() -> Iterator[str]:
        nonlocal last
        for text, notes in groups:
            for message in notes:
                if message not in last:
                    note(message)
            last = notes or last
            if text:
                yield text

    yield from filter(None, format.join(texts()))


def _check_texts(texts: Iterable[str]) -> list[str]:
    """Return `texts` as a list; raises TypeError if they are not texts."""
    if not isinstance(texts, list):
        if not isinstance(texts, Iterable) or isinstance(texts, str | bytes | Mapping | Set):
            raise _type_error(type(texts).__name__)
        texts = list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise _type_error(f"an item of type {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise DataError(f"a text has half of a character, {half!a} at {error.start}") from None
    return texts


def _type_error(found: str) -> TypeError:
    return TypeError(f"predict takes a list of texts, not {found}: predict(['fly to Oslo'])")


def _num_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
