"""Reading and writing sentences: files and folders of any format."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from slotfill.data.alignment import Misaligned, align, leave_out_overlaps
from slotfill.data.detection import (
    FormatPart,
    build_format,
    find_other_format,
    format_from_suffix,
    writable_formats,
)
from slotfill.data.folders import UNNAMED_SPLIT, canonical_split, list_shards
from slotfill.data.formats.base import Format, KnownValuesFound
from slotfill.data.sentence import MAX_CHARACTERS, Example, Issue, Sentence, intent_names
from slotfill.data.stored import StoredSentences
from slotfill.data.tokenizers import Tokenizer, is_empty
from slotfill.errors import DataError, UsageError, format_count
from slotfill.files import (
    STANDARD_INPUT,
    check_folder_of,
    is_special_file,
    read_lines,
    refuse_special_file,
    spooled,
    temporary_path,
)
from slotfill.text_lines import EncodingErrors

_CHUNK = 200
"""Sentences that are in memory at once while they are stored on disk."""


@dataclass(frozen=True)
class ReadResult:
    """The sentences of a file, and the tokenizer that they are tokenized by."""

    sentences: Sequence[Sentence]
    tokenizer: Tokenizer
    left_out: Sequence[Issue] = ()
    """An issue for each text without labels, if they are needed, or without words."""
    problems: Sequence[str] = ()
    """What cannot be read, if it is listed, a line each, which begins with `file:line:`."""
    earlier: tuple[int, int] = (0, 0)
    """How many of the sentences are earlier ones, which are the last, and of how many in all."""

    def issues(self, *kinds: str) -> list[Issue]:
        """Return the repairs of these kinds that were made, in the order of the file."""
        issues = chain.from_iterable(sentence.issues for sentence in self.sentences)
        return [issue for issue in chain(issues, self.left_out) if issue.kind in kinds]

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

    Of a file that names the splits of its examples, only those of `split` are returned, if given;
    where it names none, it is train.
    `extra` keeps what else the file has for each. What cannot be read is added to `problems` where
    there are other examples; otherwise, and without `problems`, it is a DataError.
    """
    path = Path(path)
    unread: list[Issue] = []
    examples = [*iterate_examples(path, format, scheme, extra, problems, unread)]
    if not examples and problems:
        raise DataError(*problems)
    if not examples:
        has_content = path.is_file() and path.stat().st_size
        raise DataError(
            f"{path}: no sentences; the file {'has no words' if has_content else 'is empty'}"
        )
    if split is None:
        if len({each.split for each in examples}) > 1:
            for each in examples:
                each.leave_out(
                    f"the split '{canonical_split(each.split)}'" if each.split else "no split"
                )
    else:
        splits = {canonical_split(each.split) for each in examples if each.split}
        if splits:
            examples = [
                each for each in examples if canonical_split(each.split or UNNAMED_SPLIT) == split
            ]
        if not examples:
            names = ", ".join(sorted(splits))
            raise DataError(f"{path}: no sentence is of the split '{split}', only of {names}")
    for issue in unread:
        examples[0].add_issue(issue.kind, issue.message, issue.location)
    return examples


def iterate_examples(
    path: Path,
    format: FormatPart = None,
    scheme: str = "iob2",
    extra: bool = False,
    problems: list[str] | None = None,
    unread: list[Issue] | None = None,
) -> Iterator[Example]:
    """Yield what the file (or folder) `path` holds, of all splits, see `read_examples`.

    What is not read is added to `unread`, if given and there are no `problems`.
    """
    for part in list_shards(path):
        for file in (part, *part.glob("*")):
            refuse_special_file(file)
        reader = build_format(part, format, extra)
        for example in read_usable(reader, part, scheme, problems):
            example.extra = example.extra if extra else None
            yield example
        if unread is not None and not problems:
            unread += (Issue("not read", str(part), message) for message in reader.unread(part))


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
        for example in examples:
            leave_out_overlaps(example)
        if isinstance(tokenizer, str):
            learned_from = examples if misaligned == "split" else []
            tokenizer = Tokenizer.fit(tokenizer, normalization, learned_from)
        options = _Options(misaligned, keep_tokens, labelled, intents, strict, list_problems)
        return _to_sentences(path, examples, tokenizer, options, problems)


def store_sentences(
    path: Path,
    *,
    format: FormatPart,
    scheme: str,
    split: str | None,
    tokenizer: Tokenizer,
    misaligned: Misaligned,
    intents: bool,
    strict: bool,
) -> ReadResult:
    """Return what `read_sentences` does, with the sentences on disk; `split` is train, or None.

    Of several errors, one of the first sentences is raised.
    """
    options = _Options(misaligned, False, True, intents, strict, False)
    left_out: list[Issue] = []

    def convert() -> Iterator[Sentence]:
        examples = (
            example
            for example in iterate_examples(path, format, scheme)
            if split is None or canonical_split(example.split or UNNAMED_SPLIT) == split
        )
        while True:
            with _paused_garbage_collection():
                chunk = [*islice(examples, _CHUNK)]
                for example in chunk:
                    leave_out_overlaps(example)
                result = _to_sentences(None, chunk, tokenizer, options, [])
            if not chunk:
                return
            left_out.extend(result.left_out)
            yield from result.sentences

    sentences = StoredSentences.store(convert())
    if not sentences:  # What is wrong is said of all of them.
        return read_sentences(
            path, format=format, scheme=scheme, split=split, tokenizer=tokenizer, strict=strict
        )
    return ReadResult(sentences, tokenizer, left_out)


class _Options(NamedTuple):
    """The options of `read_sentences` on what becomes of an example."""

    misaligned: Misaligned
    keep_tokens: bool
    labelled: bool
    intents: bool
    strict: bool
    list_problems: bool


def _to_sentences(
    path: Path | str | None,
    examples: list[Example],
    tokenizer: Tokenizer,
    options: _Options,
    problems: list[str],
) -> ReadResult:
    """Return the sentences of `examples`, all those of `path`; of None, they may be none."""
    list_problems = options.list_problems
    for example in examples:
        for issue in example.issues:
            if issue.kind == "unknown labels":
                example.add_problem(f"{issue.location}: {issue.message}")
                problems += example.problems
    examples = [example for example in examples if not example.problems]
    if problems and not (list_problems and examples):
        raise DataError(*problems if list_problems else problems[:1])
    kept, left_out = _leave_out(examples, labelled=options.labelled)
    if not kept and path is not None:
        raise _nothing_left(path, examples, left_out, problems)
    sentences = align(
        kept,
        tokenizer,
        options.misaligned,
        options.keep_tokens,
        problems if list_problems else None,
    )
    result = ReadResult(sentences, tokenizer, left_out, problems)
    kinds = ("unlabelled", "no words", "corrected offset", "overlap")
    if options.strict and (repairs := [each for kind in kinds for each in result.issues(kind)]):
        others = "" if list_problems else count_others(repairs)
        problems += [f"{issue.location}: {issue.message}{others}" for issue in repairs]
    for sentence in result.sentences:
        if options.intents and not intent_names(sentence.intent):
            problem = "the sentence has no intent; give it one, or set intent: null"
            problems.append(f"{sentence.location}: {problem}")
    if problems and not (list_problems and sentences):
        raise DataError(*problems if list_problems else problems[:1])
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


def _leave_out(examples: Sequence[Example], *, labelled: bool) -> tuple[list[Example], list[Issue]]:
    """Return the examples that have words, and labels if `labelled`, and issues on the others."""
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
    return kept, left_out


def _nothing_left(
    path: Path | str,
    examples: Sequence[Example],
    left_out: Iterable[Issue],
    problems: Sequence[str],
) -> DataError:
    """Return the error on `path`, none of whose examples can be used; `problems` are others."""
    labels = any(issue.kind == "unlabelled" for issue in left_out)
    lack = "labels, which training and scoring need; label some" if labels else "words"
    if labels and all(example.intent for example in examples):
        lack = "slots, only intents; to learn these alone, give each sentence empty slots, []"
    count = format_count(len(examples), "sentence")
    return DataError(*problems, f"{path}: none of its {count} has {lack}")


def count_others(issues: Sequence[Issue]) -> str:
    return f" (and {len(issues) - 1} more)" if issues[1:] else ""


def read_texts(
    path: Path, format: FormatPart = None, scheme: str = "iob2", errors: EncodingErrors = "strict"
) -> Iterator[Example]:
    """Yield the texts of a file of sentences, without labels, or the lines of a plain text file.

    `format` is that of a part or "text"; None uses the name of the file. `errors` is what becomes
    of lines of plain text that are not UTF-8. What is in a pipe is read once.
    Raises DataError if the file cannot be read.
    """
    format = format or format_from_suffix(path)
    is_pipe = is_special_file(path)
    if format not in (None, "text"):
        part = build_format(path, format, extra=True)
        part.reads_texts = True
        # Formats that open a file once read standard input as it comes.
        is_spooled = part.reads_twice if path is STANDARD_INPUT else path.is_fifo()
        is_spooled = is_spooled and part.reads_standard_input
        with spooled(path) if is_spooled else nullcontext(path) as path:
            refuse_special_file(path)
            for example in read_usable(part, path, scheme):
                yield Example(example.text, location=example.location, extra=example.extra)
        return
    is_stream = path is STANDARD_INPUT or is_pipe
    if format is None and not is_stream and (name := find_other_format(path)):
        raise DataError(
            f"{path}: {name}, not text; add --input-format {name}, or --input-format text if it is"
            " text"
        )
    for number, line in read_lines(path, errors, MAX_CHARACTERS, allow_pipe=True):
        with suppress(ValueError, RecursionError):
            if number == 1 and format is None and isinstance(json.loads(line), dict):
                raise DataError(
                    f"{path}:1: a JSON object, not text; add --input-format jsonl, or"
                    " --input-format text if it is text"
                )
        yield Example(line, location=f"{path}:{number}")


def read_usable(
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
    check_folder_of(path)
    if format in (None, "auto") and not (format := format_from_suffix(path)):
        names = ", ".join(writable_formats())
        raise UsageError(f"{path}: the format is not clear from its name; name one ({names})")
    try:
        # A folder beside the target serves formats of one file and of several alike.
        folder = temporary_path(path.with_name(f".{path.name}"))
        folder.mkdir()
        try:
            draft = folder / path.name
            yield draft, build_format(path, format)
            draft.rename(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def read_known_values(path: Path, format: FormatPart = None) -> KnownValuesFound:
    """Return the lists and patterns of values that `path` has beside its sentences."""
    return build_format(path, format).known_values(path)
