"""CoNLL columns: a token and its tag a line, an empty line between sentences.

    # intent: flight
    fly	O
    to	O
    New	B-destination
    York	I-destination

Columns are separated by tabs on a line that has one, otherwise by spaces. The column of the tags is
found by its content: it is the last one, or if that has no tags the first that has. A file of one
column, or whose other columns are all `_`, is unlabelled. The tokens are in the first other column
that does not number them. In a file that numbers its tokens and has several columns of tags, the
first is taken. A token with the tag `?` has a label that is not known. Lines before a sentence that
begin with `#` and a space are comments, as are `-DOCSTART-` lines; `# intent: NAME` is its intent.
Other columns and comments are left out. Tags in IOB1, as in CoNLL-2003, give the same slots as in
IOB2, and `check` names them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Literal

from slotfill.data.formats.base import (
    Format,
    check_all_labelled,
    check_representable,
    example_from_tokens,
    render_tags,
    split_on_spaces,
)
from slotfill.data.json_objects import is_json
from slotfill.data.schemes import TAG, UNKNOWN_TAG, parse_tag
from slotfill.data.sentence import INTENT_SEPARATOR, Example, Sentence, unreadable
from slotfill.errors import DataError, format_count
from slotfill.files import STANDARD_INPUT, read_lines

_COMMENT = re.compile(r"#[ \t](\w+)(?::| =)(?: ([^\t]*))?")
_DOCUMENT = "-DOCSTART-"
_HEAD_LINES = 1000
"""How many lines of a file its columns are found in."""
_NO_VALUES = ("", "_", "-", "*")
_SEPARATE = "; separate the columns of all lines alike, by tabs or by spaces"


@dataclass(slots=True)
class _Block:
    """The lines of a sentence: comments, and rows, each with its location.

    What is after the last sentence is a block without rows.
    """

    comments: list[str] = field(default_factory=list)
    intent: str | None = None
    problems: list[str] = field(default_factory=list)
    """What is wrong with the comments."""
    rows: list[tuple[str, list[str]]] = field(default_factory=list)
    is_file: bool = False
    """Whether it is all of the file, which has no empty line."""


class Conll(Format):
    """Columns; each sentence ends with an empty line.

    token: the column of the tokens, counted from 0, or backwards from -1; null finds it.
    tag: the column of the tags, counted in the same way; null finds it.
    separator: what separates columns; `auto` is tabs on a line that has one, otherwise spaces.
    """

    holds_half_labelled = False
    suffixes = (".conll", ".iob", ".iob2", ".bio", ".tsv")
    detected_by = "a column has a tag on every line"
    is_general = True

    def __init__(
        self,
        *,
        token: int | None = None,
        tag: int | None = None,
        separator: Literal["auto", "tab", "space"] = "auto",
    ) -> None:
        self.token = token
        self.tag = tag
        self.separator = separator

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        if is_json(head):  # A word of its texts may look like a tag, as B-52.
            return False
        rows = cls()._parse_rows(head)
        size = len(rows[0]) if rows else 0
        return any(
            all(len(row) == size > 1 and TAG.fullmatch(row[column]) for row in rows)
            for column in range(size)
        )

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        lines = read_lines(path)
        # The sentences of standard input are read one by one.
        head = [] if path is STANDARD_INPUT else list(islice(lines, _HEAD_LINES))
        token, tag = self._find_columns(self._parse_rows([line for _, line in head]))
        size, first, noted = 0, "", set[str]()
        example: Example | None = None
        for block in self._read_blocks(path, chain(head, lines)):
            if not block.rows:
                if example is not None:
                    example.leave_out(_describe_end(block))
                return
            location, row = block.rows[0]
            hint = "" if size else _hint_at_header(block.rows)
            if row[0].startswith("#") and not TAG.fullmatch(row[-1]):
                hint = "; a comment begins with '# ', with a space"
            size, first = size or len(row), first or location.rpartition(":")[2]
            try:
                for location, row in block.rows:
                    if len(row) != size:
                        raise DataError(
                            f"{location}: {format_count(len(row), 'column')}, but line {first} has"
                            f" {size}{hint or _SEPARATE}"
                        )
                example = _make_example(block, token, tag, scheme, hint)
            except DataError as error:
                yield unreadable(error)
                continue
            if comments := [each for each in block.comments if not _is_document(each)]:
                example.extra = {"comments": comments}
                if "comment" not in noted:
                    message = f"the comments of the file, such as {comments[0]!r}"
                    example.add_issue("extra", message)
                    noted.add("comment")
            for kind, what in _find_others(block, token, tag):
                if kind not in noted:
                    example.leave_out(what)
                    noted.add(kind)
            yield example

    def _read_blocks(self, path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[_Block]:
        block, has_empty_line = _Block(), False
        for number, line in lines:
            if not line.strip(" \t") or _is_document(line):
                has_empty_line = True
                if block.rows:
                    yield block
                    block = _Block()
                block.comments += [line] if _is_document(line) else []
            elif not block.rows and self._is_comment(line):
                comment = _COMMENT.fullmatch(line)
                if not comment or comment[1] != "intent":
                    block.comments.append(line)
                elif block.intent is None:
                    block.intent = (comment[2] or "").strip()
                else:
                    block.problems.append(
                        f"{path}:{number}: a second intent of one sentence, which has"
                        f" {block.intent!r}; join several by {INTENT_SEPARATOR!r} in one comment"
                    )
            else:
                location = f"{path}:{number}"
                block.rows.append((location, self._split(line, location)))
        if block.rows or block.comments or block.intent:
            block.is_file = not has_empty_line
            yield block

    def _parse_rows(self, lines: Sequence[str]) -> list[list[str]]:
        """Return the columns of those of `lines` that have a token."""
        tokens = [line for line in lines if line.strip(" \t") and not _is_document(line)]
        return [self._split(line) for line in tokens if not self._is_comment(line)]

    def _is_comment(self, line: str) -> bool:
        """Return whether a line before a sentence is a comment, and not the token `#`."""
        if not line.startswith(("# ", "#\t")):
            return False
        row, tag = self._split(line), -1 if self.tag is None else self.tag
        is_row = any(map(TAG.fullmatch, row[tag : tag + 1 or None]))
        return not is_row or bool(_COMMENT.fullmatch(line))

    def _split(self, line: str, location: str = "") -> list[str]:
        """Return the columns of a line; raises DataError for another separator, if located."""
        by_tab = "\t" in line if self.separator == "auto" else self.separator == "tab"
        cells = line.split("\t") if by_tab else filter(None, line.split(" "))
        columns = [column.strip(" ") for column in cells]
        is_other = self.separator != "auto" and len(columns) == 1
        if location and is_other and len(split_on_spaces(line)) > 1:
            problem = f"no {self.separator} separates the columns"
            hint = f"set data.format.separator: {'space' if by_tab else 'tab'}"
            raise DataError(f"{location}: {problem}; {hint}")
        return columns

    def _find_columns(self, rows: list[list[str]]) -> tuple[int, int | None]:
        """Return the columns of the tokens and of the tags in a file that begins with `rows`.

        The tags are None if all other columns are empty.
        """
        sizes = Counter(map(len, rows)).most_common(1)
        size = sizes[0][0] if sizes else 1
        columns = list(zip(*(row for row in rows if len(row) == size), strict=True))
        numbered = [i for i, column in enumerate(columns) if size > 2 and _is_numbering(column)]
        tagged = [
            i
            for i, column in enumerate(columns)
            if i != self.token and sum(map(bool, map(TAG.fullmatch, column))) > len(column) / 2
        ]
        token, tag = self.token, self.tag
        if tag is None:
            use_last = not tagged or (size - 1 in tagged and not numbered)
            tag = -1 if use_last else tagged[0]
        if token is None:
            others = [i for i in range(size) if i != tag % size and i not in numbered]
            token = (others or [0])[0]
        filled = [i for i, column in enumerate(columns) if {*column} != {"_"}]
        is_unlabelled = self.tag is None and filled == [token]
        return token, None if is_unlabelled else tag

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_representable(sentence, "conll")
        rows = sentence.surface_forms
        if _DOCUMENT in rows:
            location = sentence.location or "sentence"
            raise DataError(f"{location}: conll skips the token '{_DOCUMENT}'; write jsonl")
        if sentence.slots is not None:
            tags = render_tags(sentence, scheme)
            rows = [f"{token}\t{tag}" for token, tag in zip(rows, tags, strict=True)]
        head = [f"# intent: {sentence.intent}"] if sentence.intent else []
        return "\n".join([*head, *rows, "", ""])

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        super().write(path, check_all_labelled(sentences), scheme=scheme)


def _make_example(block: _Block, token: int, tag: int | None, scheme: str, hint: str) -> Example:
    """Return the example of a block; `hint` is the end of messages on tags."""
    tokens: list[str] = []
    tags: list[str] = []
    problems = [*block.problems]
    for location, row in block.rows:
        form, *labels = _find_cells(row, token, tag, location)
        try:
            if labels and labels[0] != UNKNOWN_TAG:
                parse_tag(labels[0], scheme)
        except ValueError as error:
            problems.append(f"{location}: {error}{hint}")
        tokens.append(form)
        tags += labels
    if problems:
        raise DataError(*problems)
    locations = [location for location, _ in block.rows]
    example = example_from_tokens(tokens, tags or None, scheme, block.intent or None, locations)
    if block.is_file:
        _check_length(example, locations[0].rpartition(":")[0], len(tokens))
    return example


def _find_cells(row: list[str], token: int, tag: int | None, location: str) -> list[str]:
    """Return the token of a row and its tag, if there is more than one column."""
    size = len(row)
    positions = {"token": token}
    if size > 1 and tag is not None:
        positions["tag"] = tag
    for kind, position in positions.items():
        problem = ""
        if not -size <= position < size:
            allowed = f"{format_count(size, 'column')}, 0 to {size - 1}"
            problem = f"no column {position} for the {kind}: {allowed}"
        elif kind == "tag" and token % size == position % size:
            problem = f"of {size} columns, token and tag are the same one, {position % size}"
        elif not row[position]:
            problem = f"the {kind} (column {position % size}) is empty"
        if problem:
            raise DataError(f"{location}: {problem}")
    return [row[position] for position in positions.values()]


def _hint_at_header(rows: Sequence[tuple[str, list[str]]]) -> str:
    """Return the end of a message on the first line of a file, if it may be a header."""
    tagged = [any(map(TAG.fullmatch, row)) for _, row in rows[:2]]
    return "; if the line is a header, remove it" if tagged == [False, True] else ""


def _find_others(block: _Block, token: int, tag: int | None) -> Iterator[tuple[str, str]]:
    """Yield what of a sentence is left out, each after its kind."""
    if any(map(_is_document, block.comments)):
        yield _DOCUMENT, f"the lines {_DOCUMENT} of the file"
    size = len(block.rows[0][1])
    columns = list(zip(*(row for _, row in block.rows), strict=True)) if size > 2 else []
    for index, column in enumerate(columns):
        cells = [cell for cell in column if cell not in _NO_VALUES]
        is_used = index == token % size or (tag is not None and index == tag % size)
        if cells and not is_used and not _is_numbering(column):
            yield f"column {index}", f"column {index} of the file, such as {cells[0]!r}"


def _is_document(line: str) -> bool:
    """Return whether a line begins a document, as `-DOCSTART- -X- O O` does."""
    return line.startswith(_DOCUMENT) and line.split()[0] == _DOCUMENT


def _describe_end(block: _Block) -> str:
    """Return what is after the last sentence of a file."""
    comments = [*block.comments, *([f"# intent: {block.intent}"] if block.intent else [])]
    return f"the comments after the last sentence, such as {comments[0]!r}"


def _is_numbering(column: Sequence[str]) -> bool:
    """Return whether a column counts the tokens of each sentence."""
    if not all(cell.isdecimal() and len(cell) < 10 for cell in column):
        return False
    numbers = [int(cell) for cell in column]
    first = numbers[0]
    return first in (0, 1) and all(b in (first, a + 1) for a, b in pairwise(numbers))


def _check_length(example: Example, path: str, tokens: int) -> None:
    """Note if a file of one sentence without an empty line after it is long."""
    message = f"no empty line, so its {tokens} tokens are one sentence"
    if tokens > 100:
        raise DataError(f"{path}: {message}; put an empty line after each sentence")
    if tokens > 3:
        example.add_issue("no empty line", message, path)
