"""CoNLL columns: a token and its tag a line, a blank line between sentences.

Columns are cut at tabs on a line that has one, otherwise at blanks, and taken by position (`token:
0`,
`tag: -1`, the last). A file of one column is unlabelled. `-DOCSTART-` lines are skipped, and so are
lines such as `# id: 7` or `# text = ...` before a sentence, without a tab; `# intent: NAME` is its
intent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from slotfill.data.formats.base import Format, check_representable, split_on_spaces
from slotfill.data.schemes import parse_tag, slots_to_tags
from slotfill.data.sentence import Sentence
from slotfill.errors import DataError
from slotfill.files import read_lines

_COMMENT = re.compile(r"# (\w+)(?::| =)(?: ([^\t]*))?")
_TAG = re.compile(r"O|[BIESLU]-\S+")


class Conll(Format):
    """Columns; each sentence ends with a blank line.

    token: the column of the tokens, counted from 0, or backwards from -1.
    tag: the column of the tags, counted likewise.
    separator: what parts columns; `auto` is tabs on a line that has one, otherwise blanks.
    """

    suffixes = (".conll", ".iob", ".iob2", ".bio", ".tsv")

    def __init__(
        self, *, token: int = 0, tag: int = -1, separator: Literal["auto", "tab", "blank"] = "auto"
    ) -> None:
        self.token = token
        self.tag = tag
        self.separator = separator

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        rows = [split_on_spaces(line) for line in head if not _COMMENT.fullmatch(line)]
        return bool(rows) and all(len(row) > 1 and _TAG.fullmatch(row[-1]) for row in rows)

    def read(self, path: Path, *, scheme: str, tokenizer: str) -> Iterator[Sentence]:
        tokens: list[str] = []
        tags: list[str] = []
        intent, place, shape = None, "", (0, 0)
        for number, line in read_lines(path):
            if not line.strip(" \t") or line.startswith("-DOCSTART-"):
                if tokens:
                    yield self._sentence(tokens, tags, scheme, intent, place)
                tokens, tags, intent = [], [], None
                continue
            if not tokens and (comment := _COMMENT.fullmatch(line)):
                intent = (comment[2] or "").strip() or None if comment[1] == "intent" else intent
                continue
            here = f"{path}:{number}"
            columns = self._columns(line, here)
            shape = shape if shape[0] else (len(columns), number)
            if len(columns) != shape[0]:
                raise DataError(
                    f"{here}: {_count(len(columns))}, but line {shape[1]} has {shape[0]}; "
                    "part all lines alike, by tabs or by blanks"
                )
            place = place if tokens else here
            tokens.append(self._cell(columns, "token", here))
            if len(columns) > 1:
                tags.append(self._cell(columns, "tag", here))
                try:
                    parse_tag(tags[-1], scheme)
                except ValueError as fault:
                    raise DataError(f"{here}: {fault}") from None
        if tokens:
            yield self._sentence(tokens, tags, scheme, intent, place)

    def _columns(self, line: str, here: str) -> list[str]:
        by_tab = "\t" in line if self.separator == "auto" else self.separator == "tab"
        columns = [column.strip(" ") for column in line.split("\t" if by_tab else " ")]
        if not by_tab:
            columns = [column for column in columns if column]
        if self.separator != "auto" and len(columns) == 1 and len(split_on_spaces(line)) > 1:
            other = "blank" if by_tab else "tab"
            fault = f"no {self.separator} parts the columns"
            raise DataError(f"{here}: {fault}; set data.format.separator: {other}")
        return columns

    def _cell(self, columns: list[str], what: Literal["token", "tag"], here: str) -> str:
        position, size = self.token if what == "token" else self.tag, len(columns)
        if not -size <= position < size:
            raise DataError(
                f"{here}: no column {position} for the {what}: {_count(size)}, 0 to {size - 1}"
            )
        if size > 1 and self.token % size == self.tag % size:
            raise DataError(
                f"{here}: of {_count(size)}, token and tag are the same one, {position % size}"
            )
        if not columns[position]:
            raise DataError(f"{here}: the {what} (column {position % size}) is empty")
        return columns[position]

    def _sentence(
        self, tokens: list[str], tags: list[str], scheme: str, intent: str | None, place: str
    ) -> Sentence:
        if not tags:
            return Sentence.from_tokens(tokens, None, intent, place)
        return self.sentence_from_tags(tokens, tags, scheme=scheme, intent=intent, place=place)

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_representable(sentence, "conll")
        if "-DOCSTART-" in sentence.tokens:
            place = sentence.location or "sentence"
            raise DataError(f"{place}: conll skips the token '-DOCSTART-'; write jsonl")
        rows = sentence.tokens
        if sentence.slots is not None:
            tags = slots_to_tags(sentence.slots, len(sentence.tokens), scheme)
            rows = [f"{token}\t{tag}" for token, tag in zip(sentence.tokens, tags, strict=True)]
        head = [f"# intent: {sentence.intent}"] if sentence.intent else []
        return "\n".join([*head, *rows, "", ""])


def _count(columns: int) -> str:
    return f"{columns} column" + "s" * (columns != 1)
