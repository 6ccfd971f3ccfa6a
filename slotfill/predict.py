"""Prediction: texts in, filled slots out, as a stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slotfill.engine import EngineName
from slotfill.evaluate import tag
from slotfill.run import Run, load_run
from slotfill.sentence import Sentence
from slotfill.text import sentence_of

CHUNK = 256
"""Sentences that are tagged together; what a stream holds in memory is a few times this."""


@dataclass(frozen=True, slots=True)
class FilledSlot:
    """A slot found in a text: its name, the words that fill it, and the characters `text[start:end]` they are."""

    name: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """A text and the slots found in it, in order."""

    text: str
    slots: tuple[FilledSlot, ...]

    @classmethod
    def of(cls, sentence: Sentence) -> Prediction:
        """Return the prediction that a tagged sentence holds."""
        return cls(
            sentence.text,
            tuple(FilledSlot(slot.name, sentence.value(slot), *sentence.span(slot)) for slot in sentence.slots or ()),
        )


class Predictor:
    """A trained tagger at work."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.tokenizer = run.config.data.tokenizer

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", engine: EngineName = "auto") -> Predictor:
        """Return the predictor of the run folder `path`, as `load_run` opens it and raises what that raises."""
        return cls(load_run(Path(path), device, engine))

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return the slots found in each of `texts`, in their order; an empty text has none."""
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts, not one text: predict([text])")
        sentences = [sentence_of(text, self.tokenizer) for text in texts]
        self.fill(sentences)
        return [Prediction.of(sentence) for sentence in sentences]

    def fill(self, sentences: Sequence[Sentence]) -> None:
        """Put into each of `sentences` the slots found in it."""
        for sentence, slots in zip(sentences, tag(self.run.model, self.run.vocab, sentences), strict=True):
            sentence.slots = slots

    def stream(self, texts: Iterable[str]) -> Iterator[Sentence]:
        """Yield a tagged sentence for each of `texts`, in order, as soon as the texts that have arrived are tagged."""
        for chunk in arrivals(texts, CHUNK):
            sentences = [sentence_of(text, self.tokenizer) for text in chunk]
            self.fill(sentences)
            yield from sentences


def arrivals(items: Iterable[str], most: int) -> Iterator[list[str]]:
    """Yield `items` in groups: whatever has arrived by then, at least one and at most `most`.

    A thread reads ahead by at most two groups, so that a slow source is answered at once and a fast one in
    large groups, in constant memory. What `items` raises is raised after the last group.
    """
    waiting: queue.Queue[str | BaseException] = queue.Queue(2 * most)
    left = threading.Event()

    def read() -> None:
        end: BaseException = StopIteration()
        try:
            for item in items:
                waiting.put(item)
                if left.is_set():
                    return
        except BaseException as fault:
            end = fault
        waiting.put(end)

    threading.Thread(target=read, daemon=True).start()
    try:
        last: str | BaseException = ""
        while isinstance(last, str):
            group = [last := waiting.get()]
            while isinstance(last, str) and len(group) < most and not waiting.empty():
                group.append(last := waiting.get())
            if found := [item for item in group if isinstance(item, str)]:
                yield found
        if not isinstance(last, StopIteration):
            raise last
    finally:
        # Whoever asked has left: room for the item that the thread may be waiting to put, and it ends.
        left.set()
        while not waiting.empty():
            waiting.get_nowait()
