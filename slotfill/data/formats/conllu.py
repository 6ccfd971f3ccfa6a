"""CoNLL-U, the format of Universal Dependencies, and CoNLL-U Plus, whose columns the file names.

The tags are values in MISC, such as `NER=B-city`, or a column that `# global.columns` names.
`# text` is the text of a sentence; without it, tokens are joined by spaces, except after
`SpaceAfter=No`. `# intent = flight` is its intent. Words that share a token, as `1-2`, share its
characters, and empty nodes, as `1.1`, are skipped. Other columns and comments are left out.

    # text = fly to New York
    # intent = flight
    1	fly	_	_	_	_	_	_	_	NER=O
    2	to	_	_	_	_	_	_	_	NER=O
    3	New	_	_	_	_	_	_	_	NER=B-destination
    4	York	_	_	_	_	_	_	_	NER=I-destination
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from slotfill.data.formats.base import Format, example_from_tokens, find_tokens
from slotfill.data.schemes import TAG
from slotfill.data.sentence import Example, Span, unreadable
from slotfill.errors import DataError, format_count
from slotfill.files import read_lines

_COLUMNS = ["ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC"]
_GLOBAL = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_COMMENT = re.compile(r"#\s*(\S+)\s*=\s*(.*)")
_ID = re.compile(r"(\d{1,9})(?:-(\d{1,9})|(\.)\d{1,9})?")


class _Row(NamedTuple):
    """A line of a sentence: its columns and the keys of MISC, by name."""

    cells: dict[str, str]
    location: str


class _Block(NamedTuple):
    """The comments and the rows of a sentence."""

    comments: dict[str, str]
    rows: list[_Row]
    problems: list[str]
    """What is wrong with the comments."""


class Conllu(Format):
    """CoNLL-U and CoNLL-U Plus.

    tag: the column, or the key in MISC, of the tags; null for the only one that has tags.
    """

    suffixes = (".conllu", ".conllup")
    detected_by = "ten columns, or those that `# global.columns` names"

    def __init__(self, *, tag: str | None = None) -> None:
        self.tag = tag

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        rows = [line.split("\t") for line in head if not line.startswith("#")]
        size = len(_COLUMNS)
        if head and (names := _GLOBAL.fullmatch(head[0])):
            size = len(names[1].split())
        elif size != 10:
            return False
        return bool(rows) and all(len(row) == size and _ID.fullmatch(row[0]) for row in rows)

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        blocks = list(_read_blocks(path))
        end = blocks.pop().comments if blocks and not blocks[-1].rows else {}
        tag = self._find_tag(path, blocks)
        left_out = _describe_others(blocks, tag)
        for index, block in enumerate(blocks):
            try:
                example = _make_example(block, tag, scheme)
            except DataError as error:
                example = unreadable(error)
            if index == 0 and left_out:
                example.leave_out(left_out)
            comments = {k: v for k, v in block.comments.items() if k not in ("text", "intent")}
            example.list_unread(list(comments), "comment", comments)
            if end and index == len(blocks) - 1:
                names = " and ".join(f'"{name}"' for name in end)
                example.leave_out(f"the comments {names} after the last sentence")
            yield example

    def _find_tag(self, path: Path, blocks: list[_Block]) -> str | None:
        """Return the name of the column or the key in MISC that has the tags, or None."""
        values: dict[str, set[str]] = {}
        for row in chain.from_iterable(block.rows for block in blocks):
            for name, cell in row.cells.items():
                if name not in _COLUMNS:
                    values.setdefault(name, set()).add(cell)
        if self.tag:
            if self.tag not in values:
                raise DataError(
                    f"{path}: no column or key in MISC '{self.tag}'; set data.format.tag to one of:"
                    f" {', '.join(sorted(values)) or 'none'}"
                )
            return self.tag
        tagged = [name for name, cells in values.items() if all(map(TAG.fullmatch, cells - {"_"}))]
        tagged = [name for name in tagged if values[name] != {"_"}]
        if len(tagged) > 1:
            raise DataError(
                f"{path}: {' and '.join(sorted(tagged))} have tags; set"
                " data.format={name: conllu, tag: NAME} to one of them"
            )
        return tagged[0] if tagged else None


def _read_blocks(path: Path) -> Iterator[_Block]:
    names = _COLUMNS
    block = _Block({}, [], [])
    for number, line in chain(read_lines(path), [(0, "")]):
        location = f"{path}:{number}"
        if not line.strip():
            if block.rows:
                yield block
                block = _Block({}, [], [])
        elif line.startswith("#") and not block.rows:
            if columns := _GLOBAL.fullmatch(line):
                names = columns[1].split()
                if "FORM" not in names:
                    raise DataError(f"{location}: no column FORM, which has the tokens")
            else:
                comment = _COMMENT.fullmatch(line)
                key, value = comment.groups() if comment else (line.lstrip("# "), "")
                if key in block.comments and key in ("text", "intent"):
                    block.problems.append(f"{location}: a second comment '{key}' of one sentence")
                before = f"{block.comments[key]}\n" if key in block.comments else ""
                block.comments[key] = before + value.strip()
        else:
            cells = line.split("\t")
            if len(cells) != len(names):
                raise DataError(
                    f"{location}: {format_count(len(cells), 'column')}, but CoNLL-U has"
                    f" {len(names)}, separated by tabs: {' '.join(names)}"
                )
            row = dict(zip(names, cells, strict=True))
            if not row["FORM"].strip():
                raise DataError(f"{location}: the FORM is empty")
            if "ID" in row and not _ID.fullmatch(row["ID"]):
                raise DataError(f"{location}: expected an ID as 1, 1-2 or 1.1, found {row['ID']!r}")
            pairs = (item.partition("=") for item in row.get("MISC", "_").split("|"))
            misc = {key: value for key, equals, value in pairs if equals}
            block.rows.append(_Row(misc | row, location))
    if block.comments:
        yield block


def _describe_others(blocks: list[_Block], tag: str | None) -> str:
    """Return what of a file is left out; empty if nothing."""
    rows = [row.cells for block in blocks for row in block.rows]
    used = {"ID", "FORM", "MISC", "SpaceAfter", tag}
    columns = {name: None for row in rows for name, cell in row.items() if cell != "_"}
    others = [name for name in columns if name not in used]
    ids = [row.get("ID", "") for row in rows]
    others += ["words that share a token"] * any("-" in id for id in ids)
    others += ["empty nodes"] * any("." in id for id in ids)
    return f"other columns of the file: {', '.join(others)}" if others else ""


def _make_example(block: _Block, tag: str | None, scheme: str) -> Example:
    """Return a sentence of tokens, with the slots of the words in them."""
    if block.problems:
        raise DataError(*block.problems)
    tokens, text, words, token_of_word = _parse_tokens(block)
    locations = [row.location for row in words]
    tags = None
    if tag is not None:
        cells = (row.cells.get(tag, "_") for row in words)
        tags = ["O" if cell == "_" else cell for cell in cells]
    forms = [row.cells["FORM"] for row in words]
    example = example_from_tokens(forms, tags, scheme, block.comments.get("intent"), locations)
    assert example.offsets is not None
    starts = {start: word for word, (start, _) in enumerate(example.offsets)}
    ends = {end: word for word, (_, end) in enumerate(example.offsets)}
    example.text = block.comments.get("text") or text
    example.offsets = offsets = find_tokens(tokens, example.text, locations[0])

    def move(start: int, end: int) -> tuple[int, int]:
        """Return the characters of the tokens that hold the words between two offsets."""
        first, last = token_of_word[starts[start]], token_of_word[ends[end]]
        return offsets[first][0], offsets[last][1]

    if example.spans is not None:
        example.spans = [Span(span.name, *move(span.start, span.end)) for span in example.spans]
    example.unknown = [move(*span) for span in example.unknown]
    return example


def _parse_tokens(block: _Block) -> tuple[list[str], str, list[_Row], list[int]]:
    """Return the tokens, the text, the words, and in which token each word is."""
    tokens: list[str] = []
    words: list[_Row] = []
    token_of_word: list[int] = []
    text, last_in_token = list[str](), 0
    for row in block.rows:
        id = _ID.fullmatch(row.cells.get("ID", f"{len(words) + 1}"))
        assert id is not None
        if id[3]:
            continue
        if int(id[1]) != len(words) + 1:
            raise DataError(f"{row.location}: expected the ID {len(words) + 1}, found {id[0]}")
        if int(id[1]) > last_in_token:
            tokens.append(row.cells["FORM"])
            text.append(tokens[-1] + ("" if row.cells.get("SpaceAfter") == "No" else " "))
        if id[2]:
            last_in_token = int(id[2])
        else:
            words.append(row)
            token_of_word.append(len(tokens) - 1)
    if not words:
        raise DataError(f"{block.rows[0].location}: a sentence without words")
    return tokens, "".join(text).rstrip(" "), words, token_of_word
