"""Base class of file formats, and what formats share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import ClassVar, TypeVar

from slotfill.data.offsets import normal_forms
from slotfill.data.schemes import UNKNOWN_TAG, is_cut, slots_to_tags, tags_to_slots
from slotfill.data.sentence import (
    Example,
    Sentence,
    Span,
    describe_unread,
    token_offsets,
    unreadable,
)
from slotfill.data.tokenizers import is_empty
from slotfill.errors import DataError, UsageError

_SEPARATOR = re.compile("[ \t\r\n]")
_Row = TypeVar("_Row")


@dataclass
class KnownValuesFound:
    """The lists and patterns of values that a file has beside its sentences."""

    synonyms: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By the name of the slot, empty for those of no slot: each value with its synonyms."""
    gazetteers: dict[str, list[str]] = field(default_factory=dict)
    """Lists of values by their name."""
    patterns: dict[str, list[str]] = field(default_factory=dict)
    """Regular expressions by their name."""


class Format:
    """A file format for sentences with slots; its options are keyword arguments."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The file endings of this format, which others may have too."""
    detected_by: ClassVar[str] = ""
    """What `recognizes` and `looks_like` look for besides, for the documentation."""
    magic: ClassVar[tuple[bytes, ...]] = ()
    """The bytes that only files of this format begin with, whatever their name is."""
    is_general: ClassVar[bool] = False
    """Whether a file that also looks like another format is of that one."""
    reads_twice: ClassVar[bool] = False
    """Whether a file is opened more than once."""
    reads_standard_input: ClassVar[bool] = True
    """Whether it is one text, which may be the standard input, and not several files or bytes."""
    has_tags: ClassVar[bool] = True
    """Whether slots may be tags of tokens, for which a scheme can be chosen."""
    names_splits: ClassVar[bool] = False
    """Whether the file names the split of each sentence."""
    holds_unlabelled: ClassVar[bool] = True
    """Whether unlabelled sentences differ from those without slots."""
    holds_half_labelled: ClassVar[bool] = True
    """Whether labelled and unlabelled sentences can be in one file."""
    holds_intents: ClassVar[bool] = True
    """Whether a sentence may have an intent."""
    holds_confidence: ClassVar[bool] = False
    """Whether the probabilities of predictions are written."""
    needs_intents: ClassVar[bool] = False
    """Whether each sentence must have an intent."""
    bookkeeping: ClassVar[frozenset[str]] = frozenset()
    """The keys of what a tool notes on its work, such as ids and dates, which is no loss."""
    reads_extra: bool = False
    """Whether what else a file has for a sentence is needed, which may take time to read."""
    reads_texts: bool = False
    """Whether texts are read to be predicted, so that labels are something else that a file has."""
    frame: ClassVar[tuple[str, str, str]] = ("", "", "")
    """What is written before the first sentence, between two, and after the last."""

    @classmethod
    def is_written(cls) -> bool:
        """Return whether sentences can be written in this format, not only read."""
        return cls.render is not Format.render or cls.write is not Format.write

    def check_printable(self) -> None:
        """Raise UsageError if sentences cannot be printed: it is no text, or not written at all."""
        if type(self).render is Format.render:
            problem = "cannot be printed" if self.is_written() else "is read, but not written"
            raise UsageError(f"{type(self).__name__} {problem}; use jsonl")

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        """Return whether `path` is named as a file of this format."""
        return path.suffix.lower() in cls.suffixes and not path.is_dir()

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        """Return whether `head`, the first non-empty lines of a file, are of this format.

        It has at most 20 lines, each cut to 20,000 characters.
        """
        return False

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        """Yield what the file (or folder) `path` holds, before tokenization.

        `scheme` is that of the file's tags, if it has tags. A sentence that cannot be read is an
        example with `problems`, see `parse_each`. Raises DataError, beginning with `file:line:`,
        where the rest of the file cannot be read.
        """
        raise NotImplementedError

    def unread(self, path: Path) -> Iterator[str]:
        """Yield what the file (or folder) `path` has beside its sentences that is not read."""
        yield from ()

    def known_values(self, path: Path) -> KnownValuesFound:
        """Return what `path` has for the keys synonyms, rules and the embedding gazetteer."""
        return KnownValuesFound()

    def holds_extra(self, key: str) -> bool:
        """Return whether what files have for a sentence at another `key`, as id, is written."""
        return False

    def arrange(self, sentences: Iterable[Sentence]) -> Iterable[Sentence]:
        """Return `sentences` in the order in which they are written."""
        return sentences

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        """Return `sentence` as it is written to a file, with its last line end.

        Raises DataError if the format cannot hold it, and UsageError if it cannot be printed.
        """
        self.check_printable()
        raise NotImplementedError

    def join(self, parts: Iterable[str]) -> Iterator[str]:
        """Yield a file of rendered sentences, or groups of them joined by what is between two.

        If `parts` ends with a DataError, what is before it is a complete file.
        """
        before, between, after = self.frame
        written = False
        try:
            for part in parts:
                yield (between if written else before) + part
                written = True
        except DataError:
            if written:
                yield after
            raise
        yield after if written else before + after

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        """Write `sentences` to a new file (or folder) `path`; raises what `render` raises."""
        rendered = (self.render(sentence, scheme=scheme) for sentence in sentences)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.writelines(self.join(rendered))


def parse_each(
    parse: Callable[[_Row], Example], rows: Iterable[_Row | DataError]
) -> Iterator[Example]:
    """Yield the example of each row; one with its problems where `parse` raises DataError."""
    for row in rows:
        if isinstance(row, DataError):
            yield unreadable(row)
            continue
        try:
            example = parse(row)
        except DataError as error:
            example = unreadable(error)
        yield example


def read_each(
    read: Callable[[Path], Iterator[Example]], files: Iterable[Path]
) -> Iterator[Example]:
    """Yield what `read` yields of each file; one with the problems of a file that it cannot read.

    The files after it are read, too.
    """
    for file in files:
        try:
            yield from read(file)
        except DataError as error:
            yield unreadable(error)


def describe_other_files(folder: Path, files: Iterable[Path], format: str) -> Iterator[str]:
    """Yield what files in `folder` are not among `files`, those that `format` reads, if any."""
    read = {*files}
    folders = {parent for file in read for parent in file.parents}

    def list_others(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path in folders:
                yield from list_others(path)
            elif path not in read and path.name[0] != "." and path.stem.upper() != "README":
                yield path

    others = [path.relative_to(folder).as_posix() for path in list_others(folder)]
    yield from (f"{message} by {format}" for message in describe_unread(others, "file"))


def split_on_spaces(line: str) -> list[str]:
    """Return the parts of `line` between spaces and tabs, which may contain other white space."""
    return [part for part in line.replace("\t", " ").split(" ") if part]


def example_from_tokens(
    tokens: Sequence[str],
    tags: Sequence[str] | None,
    scheme: str,
    intent: str | None,
    locations: Sequence[str],
    text: str | None = None,
) -> Example:
    """Return the example of tokens with or without tags; raises DataError if they are not valid.

    `locations` are those of the tags: one, or one for each. `text` is what the tokens come from;
    without it, they are joined by spaces.
    """
    for token, location in zip(tokens, cycle(locations), strict=False):
        if not token.isprintable() and is_empty(token):
            raise DataError(f"{location}: the token {token!r} has no visible character")
    if text is None:
        text, offsets = " ".join(tokens), token_offsets(tokens)
    else:
        offsets = find_tokens(tokens, text, locations[0])
    example = Example(text, None, intent, locations[0], offsets)
    if tags is None:
        return example
    if len(tags) != len(tokens):
        problem = f"tokens: {len(tokens)}, but tags: {len(tags)}; each token needs one tag"
        raise DataError(f"{locations[0]}: {problem}")
    if scheme == "bioes":  # BMES has M- for I-.
        tags = [re.sub("^M-", "I-", tag) for tag in tags]
    known = ["O" if tag == UNKNOWN_TAG else tag for tag in tags]
    try:
        slots = tags_to_slots(known, scheme)
    except ValueError as error:
        raise DataError(f"{locations[0]}: {error}") from None
    cut = {slot for slot in slots if is_cut(slot, tags, scheme)}
    slots = [slot for slot in slots if slot not in cut]
    legal_tags = slots_to_tags(slots, len(tags), scheme)
    for _, start, end in cut:
        legal_tags[start:end] = [UNKNOWN_TAG] * (end - start)
    for index, tag in enumerate(tags):
        if tag == UNKNOWN_TAG:
            legal_tags[index] = tag
    example.spans = [
        Span(name, offsets[start][0], offsets[end - 1][1]) for name, start, end in slots
    ]
    example.unknown = [
        span for span, tag in zip(offsets, legal_tags, strict=True) if tag == UNKNOWN_TAG
    ]
    for token, tag, legal, location in zip(
        tokens, tags, legal_tags, cycle(locations), strict=False
    ):
        if tag != legal:
            example.add_issue("repaired tag", f"{tag} of {token!r} read as {legal}", location)
    return example


def find_tokens(tokens: Sequence[str], text: str, location: str) -> list[tuple[int, int]]:
    """Return the offsets of `tokens` in `text`, which has only spaces beside them."""
    offsets, end = [], 0
    for token in tokens:
        first = end
        while first < len(text) and is_empty(text[first]):
            first += 1
        for form in normal_forms(token):
            start = text.find(form, end, first + len(form))
            if start >= 0 and is_empty(text[end:start]):
                break
        else:
            raise DataError(
                f'{location}: the token {token!r} does not follow in "text" at character {end}'
            )
        end = start + len(form)
        offsets.append((start, end))
    if not is_empty(text[end:]):
        raise DataError(f'{location}: "text" goes on after the last token, at character {end}')
    return offsets


def check_all_labelled(sentences: Iterable[Sentence]) -> Iterator[Sentence]:
    """Yield `sentences`; raises DataError where labelled and unlabelled ones are mixed."""
    first: Sentence | None = None
    for sentence in sentences:
        first = first or sentence
        if (sentence.slots is None) != (first.slots is None):
            labelled, unlabelled = sorted((first, sentence), key=lambda each: each.slots is None)
            raise DataError(
                f"{unlabelled.location or 'sentence'}: not labelled, though"
                f" {labelled.location or 'another'} is; write jsonl, or label all or none"
            )
        yield sentence


def render_tags(sentence: Sentence, scheme: str) -> list[str]:
    """Return the tags of a labelled sentence, `?` for those that are not known."""
    tags = slots_to_tags(sentence.slots or (), len(sentence.tokens), scheme)
    for start, end in sentence.unknown:
        tags[start:end] = [UNKNOWN_TAG] * (end - start)
    return tags


def check_known(sentence: Sentence, format: str) -> None:
    """Raise DataError if labels of `sentence` are not known, which `format` cannot hold."""
    if sentence.unknown:
        location = sentence.location or "sentence"
        problem = f"has labels that are not known, so {format} cannot hold it; write jsonl"
        raise DataError(f"{location}: the sentence {problem}")


def check_representable(sentence: Sentence, format: str) -> None:
    """Raise DataError if a token, slot name or intent contains a separator of `format`."""
    texts = [("token", token) for token in sentence.surface_forms]
    texts += [("slot name", slot.name) for slot in sentence.slots or ()]
    problems = [
        f"the {kind} {text!r} {'contains a space or a line end' if text else 'is empty'}"
        for kind, text in texts
        if not text or _SEPARATOR.search(text)
    ]
    intent = sentence.intent or ""
    if _SEPARATOR.search(intent.replace(" ", "")):
        problems.insert(0, f"the intent {intent!r} contains a tab or a line end")
    if intent != intent.strip():
        problems.insert(0, f"the intent {intent!r} begins or ends with a space")
    if problems:
        location = sentence.location or "sentence"
        raise DataError(f"{location}: {problems[0]}, so {format} cannot hold it; write jsonl")
