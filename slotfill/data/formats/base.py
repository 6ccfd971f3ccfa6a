"""What every format promises, and what formats share: lines of a file, slots from tags or
characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import ne
from pathlib import Path
from typing import ClassVar, TextIO

from slotfill.data.schemes import slots_to_tags, tags_to_slots
from slotfill.data.sentence import Sentence, Slot
from slotfill.errors import DataError


class Format:
    """A file format for sentences with slots; its options are the constructor's keyword arguments."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The endings that tell this format, the one written by first."""

    repaired_tags: int = 0
    """How many tags of what this object has read so far were illegal in their scheme."""

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        """Tell from its name whether `path` is of this format."""
        return path.suffix.lower() in cls.suffixes and not path.is_dir()

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        """Tell whether `head`, the first lines of a file that are not blank, is surely of this
        format.
        """
        return False

    def read(self, path: Path, *, scheme: str, tokenizer: str) -> Iterator[Sentence]:
        """Yield the sentences of the file (or folder) `path`.

        `scheme` is that of the file's tags, if it holds tags; `tokenizer` cuts its text, if it
        holds text. Raises DataError, beginning with `file:line:`, at the first thing that cannot be
        read.
        """
        raise NotImplementedError

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        """Return `sentence` as it stands in a file, its last line end included.

        Raises DataError when the format cannot hold it.
        """
        raise NotImplementedError

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        """Write `sentences` to a new file `path`; raises as `render` does."""
        with path.open("x", encoding="utf-8", newline="\n") as file:
            self.dump(file, sentences, scheme=scheme)

    def dump(self, file: TextIO, sentences: Iterable[Sentence], *, scheme: str) -> None:
        """Write `sentences` to an open text file; raises as `render` does."""
        file.writelines(self.render(sentence, scheme=scheme) for sentence in sentences)

    def sentence_from_tags(
        self, tokens: list[str], tags: list[str], *, scheme: str, intent: str | None, place: str
    ) -> Sentence:
        """Return the sentence that `tags` label, and count repairs; raises DataError at a foreign
        tag.
        """
        try:
            slots = tags_to_slots(tags, scheme)
        except ValueError as fault:
            raise DataError(f"{place}: {fault}") from None
        self.repaired_tags += sum(map(ne, tags, slots_to_tags(slots, len(tags), scheme)))
        return Sentence.from_tokens(tokens, slots, intent, place)


def split_on_spaces(line: str) -> list[str]:
    """Return the pieces of `line` between blanks and tabs; other white space stays inside a piece."""
    return [piece for piece in line.replace("\t", " ").split(" ") if piece]


def slots_from_spans(sentence: Sentence, spans: Iterable[tuple[str, int, int]]) -> list[Slot]:
    """Return as slots the named runs of characters `spans`: (name, first character, the one after
    the last).

    Raises DataError when one is out of the text, is empty, cuts a token or overlaps another.
    """
    first = {start: index for index, (start, _) in enumerate(sentence.offsets)}
    last = {end: index for index, (_, end) in enumerate(sentence.offsets)}
    slots: list[Slot] = []
    for name, start, end in sorted(spans, key=lambda span: span[1:]):
        if not name or start not in first or end not in last or start >= end:
            raise DataError(f"{sentence.location}: {_span_fault(sentence, name, start, end)}")
        slot = Slot(name, first[start], last[end] + 1)
        if slots and slot.start < slots[-1].end:
            two = " and ".join(
                f"'{each.name}' ({sentence.value(each)!r})" for each in (slots[-1], slot)
            )
            raise DataError(f"{sentence.location}: slots {two} overlap")
        slots.append(slot)
    return slots


def _span_fault(sentence: Sentence, name: str, start: int, end: int) -> str:
    """Return what is wrong with a span that is no run of whole tokens."""
    text = sentence.text
    if not name:
        return f"the slot from {start} to {end} has no name"
    if start == end:
        return f"slot '{name}' from {start} to {end} is empty"
    if not 0 <= start < end <= len(text):
        return (
            f"slot '{name}' from {start} to {end} is not in the text of {len(text)} characters,"
            " counted from 0"
        )
    for first, last in sentence.offsets:
        if first < start < last or first < end < last:
            cut = f"slot '{name}' ({text[start:end]!r}) cuts the token {text[first:last]!r}"
            return f"{cut}; mend the slot, or set data.tokenizer: characters"
    return f"slot '{name}' ({text[start:end]!r}) begins or ends with a blank; leave the blank out"


def check_representable(sentence: Sentence, format: str) -> None:
    """Raise DataError when a token, slot name or intent holds what parts them in files of `format`."""
    pieces = [("token", token, " \t\r\n") for token in sentence.tokens]
    pieces += [("slot name", slot.name, " \t\r\n") for slot in sentence.slots or ()]
    pieces += [("intent", sentence.intent, "\t\r\n")] if sentence.intent else []
    if sentence.intent and sentence.intent != sentence.intent.strip():
        place = sentence.location or "sentence"
        fault = f"the intent {sentence.intent!r} begins or ends with a blank"
        raise DataError(f"{place}: {fault}, so {format} cannot hold it; write jsonl")
    for what, piece, parting in pieces:
        if not piece or any(char in piece for char in parting):
            fault = (
                f"holds a {'blank' if ' ' in parting else 'tab'} or a line end"
                if piece
                else "is empty"
            )
            place = sentence.location or "sentence"
            raise DataError(
                f"{place}: the {what} {piece!r} {fault}, so {format} cannot hold it; write jsonl"
            )
