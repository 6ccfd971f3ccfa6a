"""Base class of file formats, and what formats share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, TextIO

from slotfill.data.schemes import slots_to_tags, tags_to_slots
from slotfill.data.sentence import Example, Issue, Sentence, Span, token_offsets
from slotfill.data.tokenizers import is_empty
from slotfill.errors import DataError


class Format:
    """A file format for sentences with slots; its options are keyword arguments."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The file endings of this format."""

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        """Return whether `path` is named as a file of this format."""
        return path.suffix.lower() in cls.suffixes and not path.is_dir()

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        """Return whether `head`, the first non-empty lines of a file, can only be this format."""
        return False

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        """Yield what the file (or folder) `path` holds, before tokenization.

        `scheme` is that of the file's tags, if it has tags. Raises DataError, beginning with
        `file:line:`, at the first thing that cannot be read.
        """
        raise NotImplementedError

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        """Return `sentence` as it is written to a file, with its last line end.

        Raises DataError if the format cannot hold it.
        """
        raise NotImplementedError

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        """Write `sentences` to a new file `path`; raises what `render` raises."""
        with path.open("x", encoding="utf-8", newline="\n") as file:
            self.dump(file, sentences, scheme=scheme)

    def dump(self, file: TextIO, sentences: Iterable[Sentence], *, scheme: str) -> None:
        """Write `sentences` to an open text file; raises what `render` raises."""
        file.writelines(self.render(sentence, scheme=scheme) for sentence in sentences)


def split_on_spaces(line: str) -> list[str]:
    """Return the pieces of `line` between spaces and tabs, which may contain other white space."""
    return [piece for piece in line.replace("\t", " ").split(" ") if piece]


def example_from_tokens(
    tokens: Sequence[str],
    tags: Sequence[str] | None,
    scheme: str,
    intent: str | None,
    locations: Sequence[str],
) -> Example:
    """Return the example of a file of tokens, its text the tokens joined by spaces.

    `locations` are those of the tags: one, or one for each. Raises DataError for a tag that is not
    of the scheme or a token without visible characters.
    """
    offsets = token_offsets(tokens)
    example = Example(" ".join(tokens), None, intent, locations[0], offsets)
    if not example.text.isprintable():
        for index, token in enumerate(tokens):
            if is_empty(token):
                location = locations[index % len(locations)]
                raise DataError(f"{location}: the token {token!r} has no visible character")
    if tags is None:
        return example
    try:
        slots = tags_to_slots(tags, scheme)
    except ValueError as error:
        raise DataError(f"{locations[0]}: {error}") from None
    example.spans = [
        Span(name, offsets[start][0], offsets[end - 1][1]) for name, start, end in slots
    ]
    legal_tags = slots_to_tags(slots, len(tags), scheme)
    if legal_tags != tags:
        example.issues = tuple(
            Issue(
                "repaired tag",
                locations[index % len(locations)],
                f"{tag} of {token!r} read as {legal}",
            )
            for index, (token, tag, legal) in enumerate(zip(tokens, tags, legal_tags, strict=True))
            if tag != legal
        )
    return example


def check_all_labelled(sentences: Iterable[Sentence]) -> Iterator[Sentence]:
    """Yield `sentences`; raises DataError where labelled and unlabelled ones are mixed."""
    first: Sentence | None = None
    for sentence in sentences:
        first = first or sentence
        if (sentence.slots is None) != (first.slots is None):
            pair = (sentence, first) if sentence.slots is None else (first, sentence)
            unlabelled, labelled = pair
            raise DataError(
                f"{unlabelled.location or 'sentence'}: not labelled, though"
                f" {labelled.location or 'another'} is; write jsonl, or label all or none"
            )
        yield sentence


def check_representable(sentence: Sentence, format: str) -> None:
    """Raise DataError if a token, slot name or intent contains a separator of `format`."""
    pieces = [("token", token, " \t\r\n") for token in sentence.surface_forms]
    pieces += [("slot name", slot.name, " \t\r\n") for slot in sentence.slots or ()]
    problem = ""
    if sentence.intent:
        pieces.append(("intent", sentence.intent, "\t\r\n"))
        if sentence.intent != sentence.intent.strip():
            problem = f"the intent {sentence.intent!r} begins or ends with a space"
    for kind, piece, separators in pieces:
        if not piece:
            problem = problem or f"the {kind} {piece!r} is empty"
        elif any(char in piece for char in separators):
            separator = "space" if " " in separators else "tab"
            problem = problem or f"the {kind} {piece!r} contains a {separator} or a line end"
    if problem:
        location = sentence.location or "sentence"
        raise DataError(f"{location}: {problem}, so {format} cannot hold it; write jsonl")
