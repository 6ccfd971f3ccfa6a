r"""Slots marked in the text like links: `fly to [Taipei](destination)`.

    [](flight) fly to [New York](destination)

One sentence a line; good for writing by hand, and for languages without spaces between words. An
intent comes before the sentence, as a name without a value, and may be left out. Every line counts
as labelled, and empty lines are skipped. In the text and the slots' values `[`, `]` and `\` are
written `\[`, `\]` and `\\`; in a name `)` and `\` are written `\)` and `\\`. `\(`, `\)`, `\n` and
`\r` (line ends) are accepted everywhere; a backslash before anything else is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from slotfill.data.formats.base import Format, check_known, parse_each
from slotfill.data.sentence import Example, Sentence, Span
from slotfill.data.tokenizers import is_empty
from slotfill.errors import DataError
from slotfill.files import read_lines

_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", **{char: char for char in r"\[]()"}}
_PIECE = re.compile(r"[^\\\[\]]+|\\.?|\[|\]", re.DOTALL)
_NAME = re.compile(r"\(((?:[^\\)]|\\.)*)\)", re.DOTALL)
_INTENT = re.compile(r"\[\]\(((?:[^\\)]|\\.)+)\) ?", re.DOTALL)
_LINK = re.compile(
    r"://|^(mailto:|www\.|[#/.])|\.(md|html?|png|jpe?g|gif|svg|pdf)\b|(?m:^)[^/\n]*/.* \""
)
_JSON = re.compile(r"\s*(\{|\[\s*$|\[\s*[\[{\"])")
_SLOT = re.compile(r"\[[^\[\]]*\]\([^()]+\)")


class Brackets(Format):
    """Text with slots in brackets."""

    suffixes = (".brackets", ".md")
    has_tags = False
    detected_by = "a line with `[words](slot)`"
    is_general = True
    holds_unlabelled = False
    holds_half_labelled = False

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        if head and _JSON.match(head[0]):  # A text in it may have a link of Markdown.
            return False
        return any(_SLOT.search(line) for line in head)

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        def parse(numbered: tuple[int, str]) -> Example:
            number, line = numbered
            location = f"{path}:{number}"
            intent, text, spans = _parse(line, location)
            links = [span.name for span in spans if _LINK.search(span.name)]
            if links and path.suffix.lower() == ".md":
                raise DataError(
                    f"{location}: {links[0]!r} is a link, not the name of a slot; a file of"
                    " sentences has no links (if it is a name, call the file .brackets)"
                )
            if not spans and is_empty(text):
                raise DataError(f"{location}: an intent without a sentence; remove the line")
            return Example(text, spans, intent, location)

        lines = (numbered for numbered in read_lines(path) if not is_empty(numbered[1]))
        yield from parse_each(parse, lines)

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_known(sentence, "brackets")
        parts = [f"[]({_escape(sentence.intent, ')')}) "] if sentence.intent else []
        for text, name in sentence.split_by_slot():
            text = _escape(text, "[]")
            parts.append(f"[{text}]({_escape(name, ')')})" if name else text)
        return f"{''.join(parts)}\n"


def _parse(line: str, location: str) -> tuple[str | None, str, list[Span]]:
    """Return the intent, the text and the slots of a line; raises DataError."""
    head = _INTENT.match(line)
    intent = _unescape(head[1], location, 1) if head else None
    position = head.end() if head else 0
    text, spans = StringIO(), []
    open_start = open_column = 0  # Where the open bracket is in the text; the column is 0 if none.
    while position < len(line):
        piece = _PIECE.match(line, position)
        assert piece is not None
        column, position = position + 1, piece.end()
        problem = ""
        if piece[0] == "[":
            if open_column:
                problem = f"inside the bracket of column {open_column}; write \\[ for a plain one"
            open_start, open_column = text.tell(), column
        elif piece[0] == "]":
            name = _NAME.match(line, position)
            if not open_column:
                problem = "nothing opens this bracket; write \\] for a plain one"
            elif not name:
                problem = "no (name) after the bracket; write \\[ and \\] for plain ones"
            elif not name[1] or text.tell() == open_start:
                problem = f"a slot without a {'value' if name[1] else 'name'}"
            else:
                spans.append(Span(_unescape(name[1], location, column), open_start, text.tell()))
                position, open_column = name.end(), 0
        else:
            text.write(_unescape(piece[0], location, column))
        if problem:
            raise _error(location, column, problem)
    if open_column:
        problem = "this bracket is not closed; write \\[ for a plain one"
        raise _error(location, open_column, problem)
    return intent, text.getvalue(), spans


def _error(location: str, column: int, problem: str) -> DataError:
    return DataError(f"{location}: column {column}: {problem}")


def _escape(text: str, special: str) -> str:
    for char in "\\" + special:
        text = text.replace(char, "\\" + char)
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _unescape(text: str, location: str, column: int) -> str:
    for char in _ESCAPE.findall(text):
        if char not in _ESCAPED:
            problem = f"a backslash before {char!r}; write \\\\ for a plain one"
            raise _error(location, column, problem)
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], text)
