"""CoNLL columns: a token and its tag a line, an empty line between sentences.

Columns are separated by tabs on a line that has one, otherwise by spaces, and taken by position
(`token: 0`, and `tag: -1`, the last). A file of one column is unlabelled, and a token with the tag
`?` has a label that is not known. `-DOCSTART-` lines are
skipped, and so are comments before a sentence, such as `# id: 7`; `# intent: NAME` is its intent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
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
from slotfill.data.schemes import UNKNOWN_TAG, parse_tag
from slotfill.data.sentence import Example, Issue, Sentence
from slotfill.errors import DataError, format_count
from slotfill.files import read_lines

_COMMENT = re.compile(r"# (\w+)(?::| =)(?: ([^\t]*))?")
_SEPARATE = "; separate the columns of all lines alike, by tabs or by spaces"
_TAG = re.compile(r"O|\?|[BIESLUM]-\S+")


class Conll(Format):
    """Columns; each sentence ends with an empty line.

    token: the column of the tokens, counted from 0, or backwards from -1.
    tag: the column of the tags, counted in the same way.
    separator: what separates columns; `auto` is tabs on a line that has one, otherwise spaces.
    """

    suffixes = (".conll", ".iob", ".iob2", ".bio", ".tsv")
    is_general = True

    def __init__(
        self, *, token: int = 0, tag: int = -1, separator: Literal["auto", "tab", "space"] = "auto"
    ) -> None:
        self.token = token
        self.tag = tag
        self.separator = separator

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        rows = [split_on_spaces(line) for line in head if not _COMMENT.fullmatch(line)]
        return bool(rows) and all(len(row) > 1 and _TAG.fullmatch(row[-1]) for row in rows)

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        tokens: list[str] = []
        tags: list[str] = []
        locations: list[str] = []
        intent, shape, empty_line, comment_hint = None, (0, 0), False, ""
        tag_error: DataError | None = None
        for number, line in chain(read_lines(path), [(0, "")]):
            location = f"{path}:{number}"
            if tag_error and not line.strip(" \t"):
                raise tag_error
            if not line.strip(" \t") or line.startswith("-DOCSTART-"):
                if tokens:
                    example = example_from_tokens(tokens, tags or None, scheme, intent, locations)
                    if not number and not empty_line:
                        example.issues += _check_length(path, len(tokens))
                    yield example
                tokens, tags, locations, intent, empty_line = [], [], [], None, True
                continue
            if not tokens and self._is_comment(line):
                comment = _COMMENT.fullmatch(line)
                if comment and comment[1] == "intent":
                    intent = (comment[2] or "").strip() or None
                continue
            columns = self._split_columns(line, location)
            if not tokens:
                is_row = not line.startswith("#") or _TAG.fullmatch(columns[-1])
                comment_hint = "" if is_row else "; a comment begins with '# ', with a space"
            shape = shape if shape[0] else (len(columns), number)
            if len(columns) != shape[0]:
                raise DataError(
                    f"{location}: {format_count(len(columns), 'column')}, but line {shape[1]} has"
                    f" {shape[0]}{comment_hint or _SEPARATE}"
                )
            if tag_error:
                raise tag_error
            token, *tag = self._parse_cells(columns, location)
            tokens.append(token)
            tags += tag
            locations.append(location)
            try:
                if tag and tag[0] != UNKNOWN_TAG:
                    parse_tag(tag[0], scheme)
            except ValueError as error:
                hint = comment_hint
                if all(map(_TAG.fullmatch, tokens)):
                    hint = (
                        f"; the tags seem to be in column {self.token}: set data.format="
                        f"{{name: conll, token: {self.tag % len(columns)}, tag: {self.token}}}"
                    )
                tag_error = DataError(f"{location}: {error}{hint}")
                if number != shape[1]:  # Else the next line may show that its columns are wrong.
                    raise tag_error from None

    def _is_comment(self, line: str) -> bool:
        """Return whether a line before a sentence is a comment, and not the token `#`."""
        row = line.split("\t") if "\t" in line else split_on_spaces(line)
        tag = row[self.tag : self.tag + 1 or None]
        is_row = tag and _TAG.fullmatch(tag[0].strip(" ")) and not _COMMENT.fullmatch(line)
        return line.startswith("# ") and not is_row

    def _split_columns(self, line: str, location: str) -> list[str]:
        by_tab = "\t" in line if self.separator == "auto" else self.separator == "tab"
        cells = line.split("\t") if by_tab else filter(None, line.split(" "))
        columns = [column.strip(" ") for column in cells]
        if self.separator != "auto" and len(columns) == 1 and len(split_on_spaces(line)) > 1:
            problem = f"no {self.separator} separates the columns"
            hint = f"set data.format.separator: {'space' if by_tab else 'tab'}"
            raise DataError(f"{location}: {problem}; {hint}")
        return columns

    def _parse_cells(self, columns: list[str], location: str) -> list[str]:
        """Return the token of a row and its tag, if there is more than one column."""
        size = len(columns)
        positions = {"token": self.token, "tag": self.tag} if size > 1 else {"token": self.token}
        for kind, position in positions.items():
            problem = ""
            if not -size <= position < size:
                allowed = f"{format_count(size, 'column')}, 0 to {size - 1}"
                problem = f"no column {position} for the {kind}: {allowed}"
            elif size > 1 and self.token % size == self.tag % size:
                problem = f"of {size} columns, token and tag are the same one, {position % size}"
            elif not columns[position]:
                problem = f"the {kind} (column {position % size}) is empty"
            if problem:
                raise DataError(f"{location}: {problem}")
        return [columns[position] for position in positions.values()]

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_representable(sentence, "conll")
        rows = sentence.surface_forms
        if "-DOCSTART-" in rows:
            location = sentence.location or "sentence"
            raise DataError(f"{location}: conll skips the token '-DOCSTART-'; write jsonl")
        if sentence.slots is not None:
            tags = render_tags(sentence, scheme)
            rows = [f"{token}\t{tag}" for token, tag in zip(rows, tags, strict=True)]
        head = [f"# intent: {sentence.intent}"] if sentence.intent else []
        return "\n".join([*head, *rows, "", ""])

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        super().write(path, check_all_labelled(sentences), scheme=scheme)


def _check_length(path: Path, tokens: int) -> tuple[Issue, ...]:
    """Return an issue if a file of one sentence without an empty line after it is long."""
    message = f"no empty line, so its {tokens} tokens are one sentence"
    if tokens > 100:
        raise DataError(f"{path}: {message}; put an empty line after each sentence")
    return (Issue("no empty line", str(path), message),) if tokens > 3 else ()
