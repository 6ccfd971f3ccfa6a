"""Documents of brat: a text file and its annotations beside it, or a folder of such pairs.

`NAME.txt` is read with `NAME.ann`; give either, or the folder. Each line of the text is a sentence.
The `T` annotations of `NAME.ann` are slots; their offsets count the code points of the whole text,
and are corrected by the text of the slot. `N` annotations say what the value of a slot stands for:
their text, or else the id in the other resource. Slots of several parts (`0 4;10 14`) or over
several lines are left out and listed, as are attributes, relations, events, notes and the ids of
values that have a text. A text without a `.ann` is unlabelled; READMEs are skipped. There are no
intents.

A folder `NAME` with `NAME.txt` and `NAME.ann` is written.

`flights.txt`:

    fly to New York

`flights.ann`:

    T1	destination 7 15	New York
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from slotfill.data.formats.base import (
    Format,
    check_all_labelled,
    check_known,
    describe_other_files,
    read_each,
)
from slotfill.data.normalization import normalize
from slotfill.data.offsets import NEAREST, find_value
from slotfill.data.sentence import Example, Sentence
from slotfill.data.tokenizers import is_empty
from slotfill.errors import DataError, UsageError
from slotfill.files import read_lines

_TEXT_BOUND = re.compile(r"(T\w*)\t(\S+) (\d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*)(?:\t(.*))?")
_REFERENCE = re.compile(r"N\w*\t\S+ (T\w+) (\S+)(?:\t(.*))?")
_OTHER = re.compile(r"(?:[AMREN#]\w*|\*)\t")
_TARGET = re.compile(r"(?<![^\s:])T\w+")

_SIZES: tuple[Callable[[str], int], ...] = (
    len,
    lambda line: len(line.encode("utf-16-le")) // 2,
    lambda line: len(line.encode()),
    lambda line: len(normalize("NFC", line)),
    lambda line: len(normalize("NFD", line)),
)
"""How long a line is: in code points, as brat counts, in UTF-16 code units, in bytes, and in code
points after Unicode normalization."""


class Brat(Format):
    """Texts with annotations in a second file."""

    holds_unlabelled = False
    holds_half_labelled = False
    suffixes = (".txt", ".ann")
    has_tags = False
    reads_standard_input = False
    detected_by = "a `.ann` beside the text, or a folder of such pairs, none called `train`"
    holds_intents = False

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        if path.is_dir():
            texts, names = ({f.stem for f in path.glob(f"*{end}")} for end in cls.suffixes)
            return bool(texts & names) and "train" not in names  # Else it is a corpus of splits.
        return path.suffix == ".txt" and path.with_suffix(".ann").is_file()

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        return any(map(_TEXT_BOUND.fullmatch, head)) and all(
            _TEXT_BOUND.fullmatch(line) or _OTHER.match(line) for line in head
        )

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        if not path.is_dir():
            yield from _read_document(path.with_suffix(".txt"))
            return
        files = _list_texts(path)
        known = [*files, *(file.with_suffix(".ann") for file in files), *path.glob("*.conf")]
        others = list(describe_other_files(path, known, "brat"))
        for example in read_each(_read_document, files):
            for message in others:
                example.leave_out(message)
            others = []
            yield example

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        if path.suffix in (".txt", ".ann"):
            raise UsageError(f"{path.name}: brat writes a folder; call it {path.stem}")
        lines, annotations, start = [], list[str](), 0
        for sentence in check_all_labelled(sentences):
            _check_sentence(sentence)
            for slot in sentence.slots or ():
                first, last = (start + offset for offset in sentence.span(slot))
                number = len(annotations) + 1
                annotations.append(
                    f"T{number}\t{slot.name} {first} {last}\t{sentence.value(slot)}\n"
                )
            lines.append(f"{sentence.text}\n")
            start += len(lines[-1])
        path.mkdir()
        for suffix, rows in {".txt": lines, ".ann": annotations}.items():
            file = path / f"{path.name}{suffix}"
            file.write_text("".join(rows), encoding="utf-8", newline="\n")


def _check_sentence(sentence: Sentence) -> None:
    check_known(sentence, "brat")
    location = sentence.location or "sentence"
    if re.search(r"[\r\n]", sentence.text):
        raise DataError(f"{location}: the text has a line end, so brat cannot hold it; write jsonl")
    for slot in sentence.slots or ():
        if re.search(r"\s", slot.name):
            problem = f"the slot name {slot.name!r} contains a space or a line end"
            raise DataError(f"{location}: {problem}, so brat cannot hold it; write jsonl")


def _list_texts(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.txt")) if file.stem != "README"]


def _read_document(path: Path) -> Iterator[Example]:
    lines = list(read_lines(path))
    examples = [Example(text, location=f"{path}:{number}") for number, text in lines]
    annotations = path.with_suffix(".ann")
    if annotations.is_file():
        for example in examples:
            example.spans = []
        _annotate(examples, annotations, _line_starts(path, examples))
    for example in examples:
        if not is_empty(example.text):
            yield example


def _line_starts(path: Path, examples: Sequence[Example]) -> list[list[int]]:
    """Return the offset of each line, as it may be counted: first as brat does.

    A line end of two characters counts as one where it was changed after the annotation.
    """
    widths = (2, 1) if b"\r\n" in path.read_bytes() else (1, 2)
    sizes = [[size(example.text) for example in examples] for size in _SIZES]
    return [
        list(accumulate((each + width for each in row), initial=0))
        for row in sizes
        for width in widths
    ]


def _annotate(examples: Sequence[Example], path: Path, starts: Sequence[Sequence[int]]) -> None:
    """Add the annotations of the file `path` to the lines of a text."""
    rows = [(f"{path}:{number}", line) for number, line in read_lines(path) if line.strip()]
    first = next((i for i, example in enumerate(examples) if not is_empty(example.text)), None)
    if rows and first is None:
        raise DataError(f"{rows[0][0]}: an annotation, but {path.stem}.txt is empty")
    references = (_REFERENCE.fullmatch(line) for _, line in rows)
    resolved = {match[1]: match[3] or match[2] for match in references if match}
    lines: dict[str, int] = {}
    others = []
    for location, line in rows:
        if match := _TEXT_BOUND.fullmatch(line):
            id, name, offsets, value = match.groups()
            start, end = int(offsets.split()[0]), int(offsets.split()[-1])
            index, start, end = _locate(examples, starts, start, end, value)
            lines[id] = index
            text = examples[index].text
            if ";" in offsets or (
                end > len(text) and not find_value(text, start, end, value or "")
            ):
                kind = "of several parts" if ";" in offsets else "over several lines"
                examples[index].leave_out(f"slot '{name}' {kind} ({value or offsets!r})")
            else:
                examples[index].add_span(name, start, end, value, resolved.get(id))
        elif _OTHER.match(line):
            others.append(line)
        else:
            problem = f"expected an annotation such as T1<tab>city 6 12<tab>Taipei; found {line!r}"
            examples[first or 0].add_problem(f"{location}: {problem}")
    for line in others:
        targets = [target for target in _TARGET.findall(line) if target in lines]
        index = lines[targets[0]] if targets else first or 0
        reference = _REFERENCE.fullmatch(line)
        if not (targets and reference):
            examples[index].leave_out(f"annotation {line!r}")
        elif reference[3]:
            examples[index].leave_out(f"the id {reference[2]!r} of {reference[3]!r}")


def _locate(
    examples: Sequence[Example],
    starts: Sequence[Sequence[int]],
    start: int,
    end: int,
    value: str | None,
) -> tuple[int, int, int]:
    """Return the line of a slot, and its offsets in this line, which may yet be corrected."""
    candidates = []
    for table in starts:
        index = min(bisect_right(table, start), len(examples)) - 1
        candidates.append((index, start - table[index], end - table[index]))
    index, start, end = candidates[0]
    if not value or examples[index].text[start:end] == value:
        return candidates[0]

    def rank(candidate: tuple[int, int, int]) -> int:
        found = find_value(examples[candidate[0]].text, *candidate[1:], value)
        return 2 if found is None else int(found[2] == NEAREST)

    return min(dict.fromkeys(candidates), key=rank)
