"""Tokens, each with a colon and its tag, then the intent: a sentence a line.

The lines of public baselines for slot filling that learn intents, too:

    fly:O to:O New:B-destination York:I-destination <=> flight

The tag follows the last colon, so that a token may hold colons and a tag none. ` <=> ` and the
intent may be left out; several intents are separated by semicolons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slotfill.data.formats.base import (
    Format,
    check_representable,
    example_from_tokens,
    parse_each,
    render_tags,
    split_on_spaces,
)
from slotfill.data.schemes import TAG
from slotfill.data.sentence import INTENT_SEPARATOR, Example, Sentence
from slotfill.errors import DataError
from slotfill.files import read_lines

_ARROW = " <=> "


class TokenTag(Format):
    """Tokens with their tags, and the intent, on one line."""

    detected_by = "lines such as `to:O Rome:B-city <=> flight`"

    holds_unlabelled = False
    holds_half_labelled = False

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        items = [item for line in head for item in split_on_spaces(line.partition(_ARROW)[0])]
        pairs = [item.rpartition(":") for item in items]
        return bool(pairs) and all(token and TAG.fullmatch(tag) for token, _, tag in pairs)

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        def parse(numbered: tuple[int, str]) -> Example:
            number, line = numbered
            location = f"{path}:{number}"
            row, _, intent = line.partition(_ARROW)
            items = split_on_spaces(row)
            if not items:
                raise DataError(f"{location}: an intent without a sentence; remove the line")
            tokens, tags = [], []
            for item in items:
                token, _, tag = item.rpartition(":")
                if not token or not tag:
                    raise DataError(
                        f"{location}: expected TOKEN:TAG before {_ARROW.strip()}, found {item!r}"
                    )
                tokens.append(token)
                tags.append(tag)
            intent = intent.strip(" \t").replace(";", INTENT_SEPARATOR)
            return example_from_tokens(tokens, tags, scheme, intent or None, [location])

        lines = (numbered for numbered in read_lines(path) if numbered[1].strip(" \t"))
        yield from parse_each(parse, lines)

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        check_representable(sentence, "token_tag")
        location = sentence.location or "sentence"
        problem = "the sentence is not labelled" if sentence.slots is None else ""
        for slot in sentence.slots or ():
            if ":" in slot.name:
                problem = f"the slot name {slot.name!r} contains a colon"
        if ";" in (sentence.intent or ""):
            problem = f"the intent {sentence.intent!r} contains a semicolon"
        if problem:
            raise DataError(f"{location}: {problem}, so token_tag cannot hold it; write jsonl")
        pairs = zip(sentence.surface_forms, render_tags(sentence, scheme), strict=True)
        line = " ".join(f"{token}:{tag}" for token, tag in pairs)
        intent = (sentence.intent or "").replace(INTENT_SEPARATOR, ";")
        return f"{line}{_ARROW}{intent}\n" if intent else f"{line}\n"
