"""Prediction: texts in, filled slots out, as a stream."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from slotfill.config.registry import FORMATS
from slotfill.data.formats.base import Format
from slotfill.data.sentence import Sentence
from slotfill.inference.engine import EngineName
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.inference.stream import ordered_map, read_ahead
from slotfill.inference.tagging import check_length, predict
from slotfill.runs.load import Run, load_run

CHUNK = 2048
"""Sentences that are tagged together; what a stream holds in memory is a few times this."""


class FilledSlot(NamedTuple):
    """A slot found in a text: its name, the words that fill it, and the characters
    `text[start:end]` they are.
    """

    name: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """A text, the slots found in it, in order, and its intent.

    `intent` is None where intents are not learned or there is no word, and may be several, as
    `flight#airfare`.
    """

    text: str
    slots: tuple[FilledSlot, ...]
    intent: str | None = None

    @classmethod
    def from_sentence(cls, sentence: Sentence) -> Prediction:
        """Return the prediction that a tagged sentence holds."""
        return cls(
            sentence.text,
            tuple(
                FilledSlot(slot.name, sentence.value(slot), *sentence.span(slot))
                for slot in sentence.slots or ()
            ),
            sentence.intent,
        )


class Predictor:
    """A trained tagger at work."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.tokenizer = run.tokenizer
        # ONNX Runtime lets other threads of Python run while it computes; torch does so less.
        self.threads = min(2, _processors()) if isinstance(run.engine, OnnxEngine) else 1

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", engine: EngineName = "auto") -> Predictor:
        """Return the predictor of the run folder `path`, as `load_run` opens it and raises what
        that raises.
        """
        return cls(load_run(Path(path), device, engine))

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return the slots found in each of `texts`, in their order; an empty text has none."""
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts, not one text: predict([text])")
        return [Prediction.from_sentence(sentence) for sentence in self.tag(texts)]

    def annotate(self, sentences: Sequence[Sentence]) -> None:
        """Put into each of `sentences` the slots and the intent found in it."""
        found = predict(self.run.engine, self.run.vocab, sentences)
        for sentence, slots, intent in zip(sentences, *found, strict=True):
            sentence.slots, sentence.intent = slots, intent

    def stream(self, texts: Iterable[str]) -> Iterator[list[Sentence]]:
        """Yield tagged sentences, one for each of `texts`, in order, in groups as soon as they are
        tagged.

        Two groups are in work at a time where there are two processors: while one is computed, the
        other is read, decoded or written.
        """
        if isinstance(texts, list) and len(texts) <= CHUNK:
            # All are here already, so no thread has to wait for them.
            yield self.tag(texts)
            return
        groups = read_ahead(texts, CHUNK)
        if self.threads == 1:
            yield from map(self.tag, groups)
            return
        with ThreadPoolExecutor(self.threads) as workers:
            yield from ordered_map(self.tag, groups, workers)

    def render_stream(self, texts: Iterable[str], format: str) -> Iterator[str]:
        """Yield what `texts` are written as in `format` when they are tagged, in order, group by
        group.
        """
        part = FORMATS.build(format)
        for group in self.stream(texts):
            yield _render(group, part, self.run.scheme)

    def tag(self, texts: Sequence[str]) -> list[Sentence]:
        """Return `texts` as tagged sentences."""
        for text in texts:
            check_length(text)
        sentences = [self.tokenizer.tokenize(text) for text in texts]
        self.annotate(sentences)
        return sentences


def _processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def render_parallel(
    run: Path, texts: Iterable[str], format: str, engine: EngineName, jobs: int
) -> Iterator[str]:
    """Yield what `Predictor.render_stream` does, by `jobs` processes, each of which opens the run on the
    CPU.
    """
    with ProcessPoolExecutor(
        jobs, get_context("spawn"), _init_worker, (run, format, engine)
    ) as workers:
        yield from ordered_map(_render_chunk, read_ahead(texts, CHUNK), workers)


def _init_worker(run: Path, format: str, engine: EngineName) -> None:
    """Open the run that this process works with."""
    global _predictor, _format
    # Ctrl-C is for the process that gave them work; it ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _predictor, _format = Predictor.load(run, engine=engine), FORMATS.build(format)
    _predictor.threads = 1


def _render_chunk(texts: Sequence[str]) -> str:
    return _render(_predictor.tag(texts), _format, _predictor.run.scheme)


def _render(sentences: Iterable[Sentence], format: Format, scheme: str) -> str:
    return "".join([format.render(sentence, scheme=scheme) for sentence in sentences])


_predictor: Predictor
_format: Format
