"""Conversion: from one format to another, with what is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

from slotfill.data.alignment import Misaligned
from slotfill.data.corpus import (
    ReadResult,
    count_others,
    draft_file,
    read_known_values,
    read_sentences,
    read_usable,
)
from slotfill.data.detection import FormatPart, build_format
from slotfill.data.folders import find_split, list_splits
from slotfill.data.formats.base import Format, KnownValuesFound
from slotfill.data.schemes import check_scheme
from slotfill.data.sentence import Example, Issue, Sentence, Span
from slotfill.errors import DataError, UsageError, format_count


def convert_file(
    source: Path,
    target: Path,
    *,
    from_format: FormatPart = None,
    to_format: FormatPart = None,
    scheme: str = "iob2",
    to_scheme: str = "iob2",
    split: str | None = None,
    tokenizer: str = "words",
    misaligned: Misaligned = "split",
    lossy: bool = False,
    strict: bool = False,
) -> tuple[ReadResult, list[Issue]]:
    """Write the sentences of `source` to the new file `target`; return them and what was lost.

    Of a file that names the split of each sentence, `split` is one of them; by default all. The
    tokens of a file of tokens are kept; `tokenizer` splits other texts, and `misaligned` is what
    becomes of slots inside its tokens. Raises DataError if anything is lost and not `lossy`.
    """
    options = {"tokenizer": tokenizer, "misaligned": misaligned, "strict": strict}
    with draft_file(target, to_format) as (draft, part):
        _check_scheme(target, part, to_scheme, "--to-scheme")
        _check_scheme(source, from_format, scheme)
        reading = _read_unchanged(source, format=from_format, scheme=scheme, split=split, **options)
        return write_checked(draft, part, reading, to_scheme, lossy=lossy, target=target)


def convert_folder(
    source: Path,
    target: Path,
    *,
    from_format: FormatPart = None,
    to_format: FormatPart = None,
    scheme: str = "iob2",
    to_scheme: str = "iob2",
    tokenizer: str = "words",
    misaligned: Misaligned = "split",
    lossy: bool = False,
    strict: bool = False,
) -> dict[Path, tuple[ReadResult, list[Issue]]]:
    """Write each split of the folder `source` to the new folder `target`, as `convert_file` does.

    Returns what was read and what was lost by the file that was written.
    """
    options = {"tokenizer": tokenizer, "misaligned": misaligned, "strict": strict}
    done: dict[Path, tuple[ReadResult, list[Issue]]] = {}
    with draft_file(target, to_format) as (draft, part):
        _check_scheme(target, part, to_scheme, "--to-scheme")
        draft.mkdir()
        for split in list_splits(source, from_format):
            path = find_split(source, split, from_format)
            assert path is not None
            _check_scheme(path, from_format, scheme)
            reading = _read_unchanged(path, format=from_format, scheme=scheme, **options)
            file = target / f"{split}{next(iter(part.suffixes), '')}"
            new = draft / file.name
            done[file] = write_checked(new, part, reading, to_scheme, lossy=lossy, target=file)
    return done


def _check_scheme(
    path: Path, format: FormatPart | Format, scheme: str, option: str = "--scheme"
) -> None:
    """Raise UsageError if there is no such scheme, or if `path` has no tags for it."""
    check_scheme(scheme)
    if scheme != "iob2":
        part = format if isinstance(format, Format) else build_format(path, format)
        if not part.has_tags:
            name = type(part).__name__.lower()
            raise UsageError(f"{path}: {name} has no tags, so leave out {option} {scheme}")


def write_checked(
    draft: Path, part: Format, reading: ReadResult, scheme: str, *, lossy: bool, target: Path
) -> tuple[ReadResult, list[Issue]]:
    """Write what was read to `draft`, which will be `target`; return it, and what is lost.

    Raises DataError if anything is lost and not `lossy`.
    """
    reading = _without_unlabelled(reading, part) if lossy else reading
    part.write(draft, reading.sentences, scheme=scheme)
    reading = replace(reading, sentences=list(part.arrange(reading.sentences)))
    kinds = ("no words", "unlabelled", "left out", "overlap", "widen", "skip", "not read")
    losses = [issue for kind in kinds for issue in reading.issues(kind)]
    extra = {key for sentence in reading.sentences for key in sentence.extra or ()}
    lost = [f'"{key}"' for key in extra if not part.holds_extra(key)]
    named = reading.issues("extra")
    losses += (issue for issue in named if any(key in issue.message for key in lost))
    try:
        examples = list(read_usable(part, draft, scheme))
    except DataError as error:
        _check_no_nul(reading, part)
        messages = (message.replace(str(draft), str(target)) for message in error.messages)
        raise DataError(*messages) from None
    losses += _find_losses(reading, examples)
    if losses and not lossy:
        raise DataError(
            f"{losses[0].location}: {target} cannot hold all of it:"
            f" {losses[0].message}{count_others(losses)}; nothing was written; --lossy writes it,"
            " and lists what is lost"
        )
    return reading, losses


def _check_no_nul(reading: ReadResult, part: Format) -> None:
    """Raise DataError for the first sentence with a NUL, which no file of text has."""
    for sentence in reading.sentences:
        names = (slot.name for slot in sentence.slots or ())
        if any("\0" in each for each in (sentence.text, sentence.intent or "", *names)):
            problem = f"has a NUL, so {type(part).__name__.lower()} cannot hold it; write jsonl"
            raise DataError(f"{sentence.location}: the sentence {problem}")


def describe_issues(issues: Iterable[Issue]) -> Iterator[str]:
    """Yield a line for each message of `issues`, with its first location."""
    locations: dict[str, list[str]] = {}
    for issue in issues:
        locations.setdefault(issue.message, []).append(issue.location)
    for message, (first, *others) in locations.items():
        more = f" (and {format_count(len(others), 'sentence')} more)" if others else ""
        yield f"{first}: {message}{more}"


def _read_unchanged(source: Path, *, format: FormatPart, **options: Any) -> ReadResult:
    """Return the sentences of `source` with the tokens of the file, labelled or not."""
    reading = read_sentences(
        source, format=format, keep_tokens=True, extra=True, labelled=False, **options
    )
    if read_known_values(source, format) != KnownValuesFound():
        message = "its synonyms, lists of values and regular expressions"
        reading.sentences[0].issues += (Issue("left out", str(source), message),)
    return reading


def _without_unlabelled(reading: ReadResult, part: Format) -> ReadResult:
    """Return what was read without sentences that would become labelled without slots."""
    kept = [sentence for sentence in reading.sentences if sentence.slots is not None]
    if part.holds_half_labelled or not kept:
        return reading
    others = [sentence for sentence in reading.sentences if sentence.slots is None]
    message = "the sentence has no labels, and is left out"
    left_out = [Issue("unlabelled", sentence.location, message) for sentence in others]
    return replace(reading, sentences=kept, left_out=[*reading.left_out, *left_out])


def _find_losses(reading: ReadResult, examples: Sequence[Example]) -> Iterator[Issue]:
    """Yield an issue for each way in which a sentence differs from what was read back."""
    for sentence, example in zip(reading.sentences, examples, strict=True):
        tokens = new_tokens = sentence.surface_forms
        if sentence.pretokenized:
            other = reading.tokenizer.tokenize(example.text)
            other.offsets = example.offsets or other.offsets
            new_tokens = other.surface_forms
        by_spaces = example.offsets is None and tokens == example.text.split()
        hint = "; --tokenizer whitespace keeps them" if by_spaces else ""
        is_same_text = sentence.text == example.text
        changes: list[tuple[str, Any, Any]] = [
            ("the text {!r} becomes {!r}", sentence.text, example.text),
            (
                "the intent {!r} becomes {!r}" if example.intent else "the intent {!r} is lost",
                sentence.intent or None,
                example.intent or None,
            ),
            ("the slots {} become {}", *_describe_slots(sentence, example, is_same_text)),
        ]
        if is_same_text:
            changes.append(("the tokens {} become {}" + hint, tokens, new_tokens))
        for message, old, new in changes:
            if old != new:
                yield Issue("lost", sentence.location, message.format(old, new))
        if (sentence.slots is None) != (example.spans is None):
            message = "it is unlabelled, and becomes labelled without slots"
            if example.spans is None:
                message = "it is labelled, and becomes unlabelled"
            yield Issue("lost", sentence.location, message)


def _describe_slots(sentence: Sentence, example: Example, with_offsets: bool) -> tuple[str, str]:
    """Return the slots before and after: with offsets, or in another text with their letters."""
    resolved = sentence.resolved or repeat(None)
    before = [
        Span(slot.name, *sentence.span(slot), meaning)
        for slot, meaning in zip(sentence.slots or (), resolved, strict=False)
    ]

    def describe(text: str, span: Span) -> str:
        value = text[span.start : span.end]
        what = f"{span.name} ({(value if with_offsets else ''.join(value.split()))!r}"
        what += f", {span.start} to {span.end}" * with_offsets
        return what + (f", resolved {span.resolved!r})" if span.resolved is not None else ")")

    def describe_all(text: str, spans: Sequence[Span]) -> str:
        return ", ".join(describe(text, span) for span in spans) or "none"

    return describe_all(sentence.text, before), describe_all(example.text, example.spans or ())
