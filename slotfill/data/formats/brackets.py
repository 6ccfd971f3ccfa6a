r"""Slots marked in the text, as one would write a link: `fly to [Taipei](destination)`.

A sentence a line; blank lines are skipped. In the text and the slots' values `[`, `]` and `\` are written
`\[`, `\]` and `\\`; in a name `)` and `\` are written `\)` and `\\`. `\(`, `\)`, `\n` and `\r` (line ends)
are apply_intent_head everywhere, and a backslash before anything else is a fault. Every line counts as labelled.
An intent stands before the sentence, as a name without a value: `[](book_flight) fly to [Taipei](destination)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from slotfill.data.formats.base import Format, slots_from_spans
from slotfill.data.sentence import Sentence
from slotfill.data.tokenizers import tokenize
from slotfill.errors import DataError
from slotfill.files import read_lines

_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", **{char: char for char in r"\[]()"}}
_PIECE = re.compile(r"[^\\\[\]]+|\\.?|\[|\]", re.DOTALL)
_NAME = re.compile(r"\(((?:[^\\)]|\\.)*)\)", re.DOTALL)
_INTENT = re.compile(r"\[\]\(((?:[^\\)]|\\.)+)\) ?", re.DOTALL)
_SLOT = re.compile(r"\[[^\[\]]*\]\([^()]+\)")


class Brackets(Format):
    """Text with slots in brackets."""

    suffixes = (".brackets", ".md")

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        return any(_SLOT.search(line) for line in head)

    def read(self, path: Path, *, scheme: str, tokenizer: str) -> Iterator[Sentence]:
        for number, line in read_lines(path):
            place = f"{path}:{number}"
            intent, text, spans = _parse(line, place)
            sentence = tokenize(text, tokenizer, place)
            if sentence.tokens or spans:
                sentence.slots = slots_from_spans(sentence, spans)
                sentence.intent = intent
                yield sentence
            elif intent:
                raise DataError(f"{place}: an intent without a sentence; take the line out")

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        pieces, done = [f"[]({_escape(sentence.intent, ')')}) "] if sentence.intent else [], 0
        for slot in sentence.slots or ():
            start, end = sentence.span(slot)
            value, name = _escape(sentence.text[start:end], "[]"), _escape(slot.name, ")")
            pieces += [_escape(sentence.text[done:start], "[]"), f"[{value}]({name})"]
            done = end
        return "".join([*pieces, _escape(sentence.text[done:], "[]"), "\n"])


def _parse(line: str, place: str) -> tuple[str | None, str, list[tuple[str, int, int]]]:
    """Return the intent, the text that `line` marks up, and its slots by characters; raises
    DataError.
    """
    text, spans = "", []
    head = _INTENT.match(line)
    intent = _unescape(head[1], place, 1) if head else None
    at, open_run = (
        head.end() if head else 0,
        None,
    )  # where in the text, and in which column, a bracket stands open
    while at < len(line):
        piece = _PIECE.match(line, at)
        assert piece is not None
        column, at = at + 1, piece.end()
        if piece[0] == "[":
            if open_run:
                raise _fault(
                    place,
                    column,
                    f"inside the bracket of column {open_run[1]}; write \\[ for a plain one",
                )
            open_run = len(text), column
        elif piece[0] == "]":
            name = _NAME.match(line, at)
            if not open_run:
                raise _fault(place, column, "nothing opens this bracket; write \\] for a plain one")
            if not name:
                raise _fault(
                    place, column, "no (name) after the bracket; write \\[ and \\] for plain ones"
                )
            if not name[1] or len(text) == open_run[0]:
                raise _fault(place, column, f"a slot without a {'value' if name[1] else 'name'}")
            spans.append((_unescape(name[1], place, column), open_run[0], len(text)))
            at, open_run = name.end(), None
        else:
            text += _unescape(piece[0], place, column)
    if open_run:
        raise _fault(place, open_run[1], "this bracket is not closed; write \\[ for a plain one")
    return intent, text, spans


def _fault(place: str, column: int, what: str) -> DataError:
    return DataError(f"{place}: column {column}: {what}")


def _escape(text: str, special: str) -> str:
    for char in "\\" + special:
        text = text.replace(char, "\\" + char)
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _unescape(text: str, place: str, column: int) -> str:
    def plain(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise _fault(
                place, column, f"a backslash before {match[1]!r}; write \\\\ for a plain one"
            )
        return _ESCAPED[match[1]]

    if "\\" not in text:
        return text
    return _ESCAPE.sub(plain, text)
