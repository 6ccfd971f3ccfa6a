"""Stored sentences: a sequence that reads each sentence from a temporary file when it is needed."""

from __future__ import annotations

import json
import mmap
from array import array
from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile, gettempdir
from typing import overload

from slotfill.data.sentence import Issue, Sentence, Slot
from slotfill.errors import RunError


class StoredSentences(Sequence[Sentence]):
    """Sentences of which memory has only where each begins in a temporary file.

    The file has no name, so that a process that is killed leaves nothing behind. Forks of this
    process read it as well.
    """

    def __init__(self, content: mmap.mmap | bytes, starts: array[int]) -> None:
        """`content` has a line of JSON for each sentence, which begins at one of `starts`."""
        self.content = content
        self.starts = starts

    @classmethod
    def store(cls, sentences: Iterable[Sentence]) -> StoredSentences:
        """Write `sentences`; raises RunError if there is no space for them."""
        starts = array("q")
        content: mmap.mmap | bytes = b""
        try:
            with TemporaryFile() as file:
                end = 0
                for sentence in sentences:
                    starts.append(end)
                    end += file.write(_to_line(sentence))
                file.flush()
                if starts:
                    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise RunError(
                f"{gettempdir()}: the training sentences cannot be stored: {error.strerror}; set"
                " TMPDIR to a folder with more space, or data.streaming to false"
            ) from None
        return cls(content, starts)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Sentence: ...

    @overload
    def __getitem__(self, index: slice) -> StoredSentences: ...

    def __getitem__(self, index: int | slice) -> Sentence | StoredSentences:
        if isinstance(index, slice):
            return StoredSentences(self.content, self.starts[index])
        start = self.starts[index]
        return _from_line(self.content[start : self.content.find(b"\n", start)])

    def __iter__(self) -> Iterator[Sentence]:
        return map(self.__getitem__, range(len(self)))

    def select(self, indices: Sequence[int]) -> StoredSentences:
        """Return the sentences at `indices`, which are read from the same file."""
        return StoredSentences(self.content, array("q", map(self.starts.__getitem__, indices)))


def select(sentences: Sequence[Sentence], indices: Sequence[int]) -> Sequence[Sentence]:
    """Return the sentences at `indices`, which stay on disk if they are there."""
    if isinstance(sentences, StoredSentences):
        return sentences.select(indices)
    return [sentences[index] for index in indices]


def _to_line(sentence: Sentence) -> bytes:
    """Return what files of training sentences have of a sentence, in one line."""
    fields = (
        *(sentence.text, sentence.tokens, sentence.offsets, sentence.slots, sentence.intent),
        *(sentence.location, sentence.pretokenized, sentence.issues, sentence.unknown),
        sentence.resolved,
    )
    return json.dumps(fields).encode() + b"\n"


def _from_line(line: bytes) -> Sentence:
    """Return the sentence of a line."""
    text, tokens, offsets, slots, intent, location, pretokenized, issues, unknown, resolved = (
        json.loads(line)
    )
    return Sentence(
        text,
        tokens,
        [(start, end) for start, end in offsets],
        None if slots is None else [Slot(*slot) for slot in slots],
        intent,
        location,
        pretokenized,
        tuple(Issue(*issue) for issue in issues),
        [(start, end) for start, end in unknown],
        resolved,
    )
