"""What every format promises, and what formats share: lines of a file, slots from tags or characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from operator import ne
from pathlib import Path
from typing import BinaryIO, ClassVar, TextIO

from slotfill.errors import DataError
from slotfill.schemes import slots_of, tags_of
from slotfill.sentence import Sentence, Slot

_MEND = "save it as UTF-8, e.g. iconv -t utf-8 -f"


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
        """Tell whether `head`, the first lines of a file that are not blank, is surely of this format."""
        return False

    def read(self, path: Path, *, scheme: str, tokenizer: str) -> Iterator[Sentence]:
        """Yield the sentences of the file (or folder) `path`.

        `scheme` is that of the file's tags, if it holds tags; `tokenizer` cuts its text, if it holds text.
        Raises DataError, beginning with `file:line:`, at the first thing that cannot be read.
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

    def tagged(self, tokens: list[str], tags: list[str], *, scheme: str, intent: str | None, place: str) -> Sentence:
        """Return the sentence that `tags` label, and count repairs; raises DataError at a foreign tag."""
        try:
            slots = slots_of(tags, scheme)
        except ValueError as fault:
            raise DataError(f"{place}: {fault}") from None
        self.repaired_tags += sum(map(ne, tags, tags_of(slots, len(tags), scheme)))
        return Sentence.of_tokens(tokens, slots, intent, place)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of a UTF-8 file, without its line end.

    Raises DataError when there is no such file or it is not text.
    """
    try:
        with path.open("rb") as file:
            yield from decode_lines(file, str(path))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file{nearest_in_folder(path)}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder where a file is expected") from None
    except OSError as fault:
        raise DataError(f"{path}: cannot be read: {fault.strerror}") from None


def decode_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of an open UTF-8 file called `name`.

    A byte-order mark is dropped; lines end in LF or CRLF and nowhere else.
    Raises DataError when it is not text.
    """
    for number, line in enumerate(file, 1):
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{name}:1: UTF-16, not UTF-8; {_MEND} utf-16")
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if b"\0" in line:
            raise DataError(f"{name}:{number}: a NUL byte at column {line.index(0) + 1}; not a text file")
        try:
            text = line.decode()
        except UnicodeDecodeError as fault:
            column = len(line[: fault.start].decode()) + 1
            byte = f"byte 0x{line[fault.start]:02x} at column {column}"
            raise DataError(f"{name}:{number}: not UTF-8 ({byte}); {_MEND} latin1") from None
        yield number, text


def nearest_in_folder(path: Path) -> str:
    """Return the end of a message on a missing `path`: the nearest name in its folder, if there is one."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean '{path.with_name(near[0])}'?" if near else ""


def split_blanks(line: str) -> list[str]:
    """Return the pieces of `line` between blanks and tabs; other white space stays inside a piece."""
    return [piece for piece in line.replace("\t", " ").split(" ") if piece]


def slots_at(sentence: Sentence, spans: Iterable[tuple[str, int, int]]) -> list[Slot]:
    """Return as slots the named runs of characters `spans`: (name, first character, the one after the last).

    Raises DataError when one is out of the text, is empty, cuts a token or overlaps another.
    """
    first = {start: index for index, (start, _) in enumerate(sentence.offsets)}
    last = {end: index for index, (_, end) in enumerate(sentence.offsets)}
    slots: list[Slot] = []
    for name, start, end in sorted(spans, key=lambda span: span[1:]):
        if not name or start not in first or end not in last or start >= end:
            raise DataError(f"{sentence.place}: {_span_fault(sentence, name, start, end)}")
        slot = Slot(name, first[start], last[end] + 1)
        if slots and slot.start < slots[-1].end:
            two = " and ".join(f"'{each.name}' ({sentence.value(each)!r})" for each in (slots[-1], slot))
            raise DataError(f"{sentence.place}: slots {two} overlap")
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
        return f"slot '{name}' from {start} to {end} is not in the text of {len(text)} characters, counted from 0"
    for first, last in sentence.offsets:
        if first < start < last or first < end < last:
            cut = f"slot '{name}' ({text[start:end]!r}) cuts the token {text[first:last]!r}"
            return f"{cut}; mend the slot, or set data.tokenizer: characters"
    return f"slot '{name}' ({text[start:end]!r}) begins or ends with a blank; leave the blank out"


def check_pieces(sentence: Sentence, format: str) -> None:
    """Raise DataError when a token, slot name or intent holds what parts them in files of `format`."""
    pieces = [("token", token, " \t\r\n") for token in sentence.tokens]
    pieces += [("slot name", slot.name, " \t\r\n") for slot in sentence.slots or ()]
    pieces += [("intent", sentence.intent, "\t\r\n")] if sentence.intent else []
    if sentence.intent and sentence.intent != sentence.intent.strip():
        place = sentence.place or "sentence"
        fault = f"the intent {sentence.intent!r} begins or ends with a blank"
        raise DataError(f"{place}: {fault}, so {format} cannot hold it; write jsonl")
    for what, piece, parting in pieces:
        if not piece or any(char in piece for char in parting):
            fault = f"holds a {'blank' if ' ' in parting else 'tab'} or a line end" if piece else "is empty"
            place = sentence.place or "sentence"
            raise DataError(f"{place}: the {what} {piece!r} {fault}, so {format} cannot hold it; write jsonl")
