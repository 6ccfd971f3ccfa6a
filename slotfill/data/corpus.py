"""Corpora: files and folders of sentences, their formats and splits, reading and writing."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slotfill.config.registry import FORMATS
from slotfill.data.alignment import Misaligned, align
from slotfill.data.formats.base import Format, KnownValuesFound
from slotfill.data.schemes import check_scheme
from slotfill.data.sentence import Example, Issue, Sentence, Span, intent_names
from slotfill.data.tokenizers import Tokenizer, is_empty
from slotfill.errors import DataError, UsageError, format_count
from slotfill.files import (
    STANDARD_INPUT,
    EncodingErrors,
    is_special_file,
    nearest_in_folder,
    read_lines,
)

FormatPart = str | Mapping[str, Any] | None
"""A part of kind format; None and "auto" guess it from the path."""

_HEAD_LINES = 20
_HEAD_CHARACTERS = 20_000
"""How much of a file its format is guessed from: so many lines, and so much of each."""

_MIN_LINES = 2
"""How many lines a file has at least whose lines are no plain text, as `vitamin B-12` might be."""

_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(-\w+)?(\.\w+)")
_SHARDS = re.compile(r".+-\*-of-(\d{5})(?:-\*)?\.\w+")
"""The names of one of several files of a split, and of all together."""

_NOT_SPLITS = ("README", "dataset_dict", "dataset_info", "dataset_infos", "state")
"""What files beside the splits are called, which end like a format."""

_SPLIT_ALIASES = {"dev": "valid", "development": "valid", "validation": "valid"}


@dataclass(frozen=True)
class ReadResult:
    """The sentences of a file, and the tokenizer that they are tokenized by."""

    sentences: list[Sentence]
    tokenizer: Tokenizer
    left_out: Sequence[Issue] = ()
    """An issue for each text without labels, if they are needed, or without words."""
    problems: Sequence[str] = ()
    """What cannot be read, if it is listed, a line each, which begins with `file:line:`."""

    def issues(self, kind: str) -> list[Issue]:
        """Return the repairs of one kind that were made, in the order of the file."""
        issues = chain.from_iterable(sentence.issues for sentence in self.sentences)
        return [issue for issue in chain(issues, self.left_out) if issue.kind == kind]

    def list_problems(self) -> list[str]:
        """Return everything at which check and train stop, a line each."""
        misaligned = self.issues("misaligned")
        return [*self.problems, *(f"{issue.location}: {issue.message}" for issue in misaligned)]

    @property
    def repaired_tags(self) -> int:
        """How many tags were illegal in their scheme, so that they had to be repaired."""
        return len(self.issues("repaired tag"))


def read_examples(
    path: Path | str,
    *,
    format: FormatPart = None,
    scheme: str = "iob2",
    split: str | None = None,
    extra: bool = False,
    problems: list[str] | None = None,
) -> list[Example]:
    """Return what the file (or folder) `path` holds, at least one example.

    Of a file that names the split of each example, only those of `split` are returned, if given.
    `extra` keeps what else the file has for each. What cannot be read is added to `problems` where
    there are other examples; otherwise, and without `problems`, it is a DataError.
    """
    path = Path(path)
    examples: list[Example] = []
    unread: list[Issue] = []
    for part in list_shards(path):
        for file in (part, *part.glob("*")):
            if is_special_file(file):
                raise DataError(f"{file}: not a regular file; copy its content into one")
        reader = _build_format(part, format, extra)
        for example in _read_usable(reader, part, scheme, problems):
            example.extra = example.extra if extra else None
            examples.append(example)
        if not problems:
            unread += (Issue("not read", str(part), message) for message in reader.unread(part))
    if not examples and problems:
        raise DataError(*problems)
    if not examples:
        raise DataError(f"{path}: no sentences; the file is empty")
    if split is None:
        if len({each.split for each in examples}) > 1:
            for each in examples:
                each.leave_out(f"the split '{_named(each.split)}'" if each.split else "no split")
    else:
        splits = {_named(each.split) for each in examples if each.split}
        examples = [each for each in examples if each.split is None or _named(each.split) == split]
        if not examples:
            names = ", ".join(sorted(splits))
            raise DataError(f"{path}: no sentence is of the split '{split}', only of {names}")
    examples[0].issues += tuple(unread)
    return examples


def read_sentences(
    path: Path | str,
    *,
    format: FormatPart = None,
    scheme: str = "iob2",
    split: str | None = None,
    tokenizer: str | Tokenizer = "words",
    misaligned: Misaligned = "split",
    normalization: str = "NFC",
    keep_tokens: bool = False,
    extra: bool = False,
    labelled: bool = True,
    intents: bool = False,
    strict: bool = False,
    list_problems: bool = False,
) -> ReadResult:
    """Return the sentences of the file (or folder) `path`, at least one.

    Args:
        split: The split to read of a file that names the splits of its sentences.
        tokenizer: A tokenizer, or the name of one whose affixes are learned from this file.
        misaligned: What becomes of slots that begin or end inside a token; see `align`.
        normalization: The Unicode normalization of tokens, if `tokenizer` is a name.
        keep_tokens: Keep the tokens of a file that has tokens, instead of tokenizing its text.
        extra: Keep what else the file has for each sentence, such as an id or other columns.
        labelled: Whether sentences without labels are left out, as those without words are.
        intents: Whether every sentence must have an intent.
        strict: Whether sentences to leave out, offsets to correct and overlapping slots are errors.
        list_problems: List what cannot be read, instead of raising the first DataError, if there
            are other sentences.
    """
    problems: list[str] = []
    with _paused_garbage_collection():
        examples = read_examples(
            path,
            format=format,
            scheme=scheme,
            split=split,
            extra=extra,
            problems=problems if list_problems else None,
        )
        if isinstance(tokenizer, str):
            learned_from = examples if misaligned == "split" else []
            tokenizer = Tokenizer.fit(tokenizer, normalization, learned_from)
        for example in examples:
            for issue in example.issues:
                if issue.kind == "unknown labels":
                    example.problems += (f"{issue.location}: {issue.message}",)
                    problems += example.problems
        examples = [example for example in examples if not example.problems]
        if problems and not (list_problems and examples):
            raise DataError(*problems if list_problems else problems[:1])
        kept, left_out = _leave_out(path, examples, labelled=labelled)
        sentences = align(
            kept, tokenizer, misaligned, keep_tokens, problems if list_problems else None
        )
    result = ReadResult(sentences, tokenizer, left_out, problems)
    kinds = ("unlabelled", "no words", "corrected offset", "overlap")
    if strict and (repairs := [issue for kind in kinds for issue in result.issues(kind)]):
        others = "" if list_problems else _count_others(repairs)
        problems += [f"{issue.location}: {issue.message}{others}" for issue in repairs]
    for sentence in result.sentences:
        if intents and not intent_names(sentence.intent):
            problem = "the sentence has no intent; give it one, or set intent: null"
            problems.append(f"{sentence.location}: {problem}")
    if problems and not list_problems:
        raise DataError(problems[0])
    return result


@contextmanager
def _paused_garbage_collection() -> Iterator[None]:
    """Do not look for reference cycles while millions of objects without any are made.

    Of the time to read a million sentences, that would be a quarter.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _leave_out(
    path: Path | str, examples: Sequence[Example], *, labelled: bool
) -> tuple[list[Example], list[Issue]]:
    """Return the examples that have words, and labels if `labelled`, and issues on the others.

    Raises DataError if none has.
    """
    kept: list[Example] = []
    left_out: list[Issue] = []
    for example in examples:
        if not example.offsets and not example.spans and is_empty(example.text):
            issue = Issue("no words", example.location, "the text has no words")
        elif labelled and example.spans is None:
            issue = Issue("unlabelled", example.location, f"no labels: {example.text!r}")
        else:
            kept.append(example)
            continue
        left_out += [issue, *example.issues]
    if not kept:
        labels = any(issue.kind == "unlabelled" for issue in left_out)
        lack = "labels, which training and scoring need; label some" if labels else "words"
        raise DataError(f"{path}: none of its {format_count(len(examples), 'sentence')} has {lack}")
    return kept, left_out


def read_texts(
    path: Path, format: FormatPart = None, scheme: str = "iob2", errors: EncodingErrors = "strict"
) -> Iterator[Example]:
    """Yield the texts of a file of sentences, without labels, or the lines of a plain text file.

    `format` is that of a part or "text"; None uses the name of the file. `errors` is what becomes
    of lines of plain text that are not UTF-8. Raises DataError if the file cannot be read.
    """
    format = format or format_from_suffix(path)
    if format not in (None, "text"):
        part = _build_format(path, format, extra=True)
        part.reads_texts = True
        for example in _read_usable(part, path, scheme):
            yield Example(example.text, location=example.location, extra=example.extra)
        return
    if format is None and path is not STANDARD_INPUT and (name := _other_format(path)):
        raise DataError(
            f"{path}: {name}, not text; add --input-format {name}, or --input-format text if it is"
            " text"
        )
    for number, line in read_lines(path, errors):
        with suppress(ValueError, RecursionError):
            if number == 1 and format is None and isinstance(json.loads(line), dict):
                raise DataError(
                    f"{path}:1: a JSON object, not text; add --input-format jsonl, or"
                    " --input-format text if it is text"
                )
        yield Example(line, location=f"{path}:{number}")


def _other_format(path: Path) -> str | None:
    """Return the name of the format that a file, which is not JSON, has instead of plain text."""
    try:
        head = _read_head(path)
    except DataError:  # What is not UTF-8 may yet be text.
        return None
    if len(head) < _MIN_LINES or head[0].lstrip().startswith(("{", "[")):
        return None
    matching = (name for name, _ in _matching(list(_list_formats()), head) if name != "brackets")
    return next(matching, None)


def _read_usable(
    part: Format, path: Path, scheme: str, problems: list[str] | None = None
) -> Iterator[Example]:
    """Yield what can be used of a file; what cannot is added to `problems`, or a DataError."""
    try:
        for example in part.read(path, scheme=scheme):
            if not example.problems:
                yield example
            elif problems is None:
                raise DataError(example.problems[0])
            else:
                problems += example.problems
    except DataError as error:
        if problems is None:
            raise
        problems += error.messages


def write_sentences(
    path: Path | str,
    sentences: Iterable[Sentence],
    *,
    format: FormatPart = None,
    scheme: str = "iob2",
) -> None:
    """Write `sentences` to the new file (or folder) `path`, completely or not at all.

    Raises UsageError if `path` exists or cannot be written, and DataError if its format cannot hold
    a sentence.
    """
    with draft_file(Path(path), format) as (draft, part):
        part.write(draft, sentences, scheme=scheme)


@contextmanager
def draft_file(path: Path, format: FormatPart) -> Iterator[tuple[Path, Format]]:
    """Yield a path to write to, which is renamed to `path` at the end, and the format of `path`."""
    if path.name == "-":
        raise UsageError("-: give the name of a file or folder to write")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path}: exists, and nothing is overwritten; choose another path")
    if format in (None, "auto") and not (format := format_from_suffix(path)):
        names = ", ".join(writable_formats())
        raise UsageError(f"{path}: the format is not clear from its name; name one ({names})")
    try:
        # A folder beside the target serves formats of one file and of several alike.
        with TemporaryDirectory(prefix=".slotfill-", dir=path.parent) as folder:
            draft = Path(folder, path.name)
            yield draft, _build_format(path, format)
            draft.rename(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


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
    check_scheme(to_scheme)
    options = {"tokenizer": tokenizer, "misaligned": misaligned, "strict": strict}
    reading = _read_unchanged(source, format=from_format, scheme=scheme, split=split, **options)
    with draft_file(target, to_format) as (draft, part):
        losses = write_checked(draft, part, reading, to_scheme, lossy=lossy, target=target)
    return reading, losses


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
    check_scheme(to_scheme)
    options = {"tokenizer": tokenizer, "misaligned": misaligned, "strict": strict}
    done: dict[Path, tuple[ReadResult, list[Issue]]] = {}
    with draft_file(target, to_format) as (draft, part):
        draft.mkdir()
        for split in list_splits(source, from_format):
            path = find_split(source, split, from_format)
            assert path is not None
            reading = _read_unchanged(path, format=from_format, scheme=scheme, **options)
            file = target / f"{split}{next(iter(part.suffixes), '')}"
            new = draft / file.name
            losses = write_checked(new, part, reading, to_scheme, lossy=lossy, target=file)
            done[file] = (reading, losses)
    return done


def _read_unchanged(source: Path, *, format: FormatPart, **options: Any) -> ReadResult:
    """Return the sentences of `source` with the tokens of the file, labelled or not."""
    reading = read_sentences(
        source, format=format, keep_tokens=True, extra=True, labelled=False, **options
    )
    if read_known_values(source, format) != KnownValuesFound():
        message = "its synonyms, lists of values and regular expressions"
        reading.sentences[0].issues += (Issue("left out", str(source), message),)
    return reading


def read_known_values(path: Path, format: FormatPart = None) -> KnownValuesFound:
    """Return the lists and patterns of values that `path` has beside its sentences."""
    return _build_format(path, format).known_values(path)


def write_checked(
    draft: Path, part: Format, reading: ReadResult, scheme: str, *, lossy: bool, target: Path
) -> list[Issue]:
    """Write what was read to `draft`, which will be `target`, and return what is lost.

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
    losses += _find_losses(reading, list(_read_usable(part, draft, scheme)))
    if losses and not lossy:
        raise DataError(
            f"{losses[0].location}: {target} cannot hold all of it:"
            f" {losses[0].message}{_count_others(losses)}; nothing was written; --lossy writes it,"
            " and lists what is lost"
        )
    return losses


def _without_unlabelled(reading: ReadResult, part: Format) -> ReadResult:
    """Return what was read without sentences that would become labelled without slots."""
    kept = [sentence for sentence in reading.sentences if sentence.slots is not None]
    if part.holds_half_labelled or not kept:
        return reading
    others = [sentence for sentence in reading.sentences if sentence.slots is None]
    message = "the sentence has no labels, and is left out"
    left_out = [Issue("unlabelled", sentence.location, message) for sentence in others]
    return replace(reading, sentences=kept, left_out=[*reading.left_out, *left_out])


def describe_issues(issues: Iterable[Issue]) -> Iterator[str]:
    """Yield a line for each message of `issues`, with its first location."""
    locations: dict[str, list[str]] = {}
    for issue in issues:
        locations.setdefault(issue.message, []).append(issue.location)
    for message, (first, *others) in locations.items():
        more = f" (and {format_count(len(others), 'sentence')} more)" if others else ""
        yield f"{first}: {message}{more}"


def _count_others(issues: Sequence[Issue]) -> str:
    return f" (and {len(issues) - 1} more)" if issues[1:] else ""


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


def writable_formats() -> list[str]:
    """Return the names of the formats in which sentences can be written."""
    return [name for name, part in _list_formats() if part.is_written()]


def format_from_suffix(path: Path) -> str | None:
    """Return the name of the format that `path` is named after, or None.

    Where several formats have the name, it is the one that the content looks like, if `path` is a
    file, or else the general one, if any: a file such as config.yml need not hold sentences. JSON
    and Parquet are recognized by their content whatever their name, as files named .jsonl may hold
    one array.
    """
    formats = list(_list_formats())
    magic = _read_magic(path) if path.is_file() else b""
    if binary := [name for name, part in formats if part.magic and magic.startswith(part.magic)]:
        return binary[0]
    named = [(name, part) for name, part in formats if part.recognizes(path)]
    named.sort(key=lambda pair: not pair[1].is_general)
    if len(named) > 1 and path.is_file():
        head = _read_head(path)
        general = [(name, part) for name, part in named if part.is_general]
        is_json = bool(head) and head[0].lstrip()[:1] in ("{", "[")
        named = _matching(formats if is_json else named, head) or general
    return named[0][0] if named else None


def guess_format(path: Path) -> str:
    """Return the name of the format of `path`, from its name and its first lines."""
    if name := format_from_suffix(path):
        return name
    if path.is_dir():
        raise DataError(f"{path}: a folder of no format; give one of its files")
    head = _read_head(path)
    if not head:
        raise DataError(f"{path}: no sentences; the file is empty")
    for name, _ in _matching(list(_list_formats()), head):
        return name
    names = ", ".join(FORMATS.names())
    raise DataError(
        f"{path}: the format is not clear from its name or content; set data.format (convert:"
        f" --from) to one of: {names}"
    )


def _read_magic(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(8)
    return b""


def _read_head(path: Path) -> list[str]:
    """Return the first lines of a file that are not empty."""
    lines = (line[:_HEAD_CHARACTERS] for _, line in read_lines(path) if line.strip())
    head: list[str] = []
    try:
        head.extend(islice(lines, _HEAD_LINES))
    except DataError:  # It is said when the file is read, with what is before it.
        if not head:
            raise
    return head


def _matching(
    formats: Sequence[tuple[str, type[Format]]], head: Sequence[str]
) -> list[tuple[str, type[Format]]]:
    """Return those of `formats` that `head` looks like, the general ones last."""
    matching = [(name, part) for name, part in formats if part.looks_like(head)]
    return sorted(matching, key=lambda pair: pair[1].is_general)


def list_splits(folder: Path, format: FormatPart = None) -> list[str]:
    """Return the sorted names of the splits of a corpus: files and folders named after a format."""
    return sorted({split for split, path in _split_paths(folder) if _is_split(path, format)})


def is_corpus(path: Path) -> bool:
    """Return whether `path` is a folder of splits, and not one split, as in format jointslu."""
    return path.is_dir() and format_from_suffix(path) is None


def list_file_splits(path: Path, format: FormatPart = None) -> list[str]:
    """Return the sorted names of the splits of a file that names those of its sentences."""
    if not path.is_file():
        return []
    part = _build_format(path, format)
    if not part.names_splits:
        return []
    splits = {each.split for each in part.read(path, scheme="iob2") if not each.problems}
    return sorted(_named(split) for split in splits if split)


def find_split(folder: Path, split: str, format: FormatPart = None) -> Path | None:
    """Return the file (or folder) of a split of the corpus `folder`, or None."""
    name = _named(split)
    entries = [path for each, path in _split_paths(folder) if each == name]
    paths = [path for path in entries if _is_split(path, format)]
    # A file such as train.txt has its format in its content or in the config.
    paths = paths or [path for path in entries if path.is_file()]
    if len(paths) > 1:
        names = " and ".join(path.name for path in paths)
        raise DataError(
            f"{folder}: {names} could both be the split '{split}'; keep one, or set data.format"
        )
    return paths[0] if paths else None


def list_shards(path: Path) -> list[Path]:
    """Return the files of a split in several, whose name has a `*` for the number; else `path`.

    Raises DataError if one is missing.
    """
    if not (shards := _SHARDS.fullmatch(path.name)):
        return [path]
    files = sorted(path.parent.glob(path.name))
    if len(files) != int(shards[1]):
        raise DataError(f"{path}: only {len(files)} of {int(shards[1])} files; add the others")
    return files


def _build_format(path: Path, format: FormatPart, extra: bool = False) -> Format:
    name = guess_format(path) if format in (None, "auto") else format
    part: Format = FORMATS.build(name)
    if path == STANDARD_INPUT and not part.reads_standard_input:
        name = name if isinstance(name, str) else name["name"]
        raise UsageError(f"{path}: cannot be {name}; save it, and give the file or folder")
    part.reads_extra = extra
    return part


def _list_formats(format: FormatPart = None) -> Iterator[tuple[str, type[Format]]]:
    """Yield the name and the class of `format`, or those of all formats."""
    if format in (None, "auto"):
        names = FORMATS.names()
    else:
        names = [format if isinstance(format, str) else format["name"]]
    for name in names:
        yield name, FORMATS.part(name).load()


def _is_split(path: Path, format: FormatPart) -> bool:
    if format in (None, "auto"):
        with suppress(DataError):  # What is wrong with the file is said when it is read.
            return format_from_suffix(path) is not None
    return any(part.recognizes(path) for _, part in _list_formats(format))


def _split_paths(folder: Path) -> list[tuple[str, Path]]:
    """Return the files and folders in `folder`, sorted, each after the name of its split."""
    if not folder.is_dir():
        if folder.exists():
            raise DataError(f"{folder}: a file where a folder is expected")
        raise DataError(f"{folder}: no such folder{nearest_in_folder(folder)}")
    paths = []
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.stem not in _NOT_SPLITS:
            name = path.name if path.is_dir() else path.stem
            if (shard := _SHARD.fullmatch(path.name)) and path.is_file():
                name, count, *rest = shard.groups("")
                if int(count) > 1:
                    path = path.with_name(f"{name}-*-of-{count}{'-*' * bool(rest[0])}{rest[1]}")
            paths.append((_named(name), path))
    if (folder / "data").is_dir() and "train" not in dict(paths):
        paths += _split_paths(folder / "data")
    return list(dict.fromkeys(paths))


def _named(split: str) -> str:
    """Return the name by which slotfill calls a split."""
    return _SPLIT_ALIASES.get(split.lower(), split)


def split_name(path: Path) -> str:
    """Return the name of the split that the file (or folder) `path` is called after."""
    return _named(path.name if path.is_dir() else path.stem)
