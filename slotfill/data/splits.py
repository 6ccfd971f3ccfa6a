"""Splits: the sentences that a config names for training, validation, test and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from slotfill.config.models import Config
from slotfill.config.sections import DataConfig
from slotfill.data.alignment import leave_out_overlaps
from slotfill.data.corpus import (
    ReadResult,
    iterate_examples,
    read_sentences,
    read_texts,
    store_sentences,
)
from slotfill.data.detection import find_other_format, format_from_suffix
from slotfill.data.folders import (
    UNNAMED_SPLIT,
    canonical_split,
    find_split,
    is_corpus,
    list_file_splits,
    list_splits,
)
from slotfill.data.sentence import (
    MAX_CHARACTERS,
    MAX_TOKENS,
    Example,
    Sentence,
    check_size,
    intent_names,
)
from slotfill.data.stored import select
from slotfill.data.stratification import draw_holdout, draw_subset
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import (
    ConfigError,
    DataError,
    SlotfillError,
    UsageError,
    did_you_mean,
    format_count,
)
from slotfill.files import nearest_in_folder, read_lines, shorten_path

_MAX_NAMES = 10
"""How many splits of a folder are named in a message."""

SPLITS = ("train", "valid", "test")
"""The splits that training uses; others can be evaluated."""

DEFAULT_HOLDOUT = 0.1
"""The share of the training sentences that is held out as valid where there are enough."""

MIN_EARLIER, EARLIER_PER_NEW = 300, 10
"""Of the earlier training sentences so many are added, or so many for each new one."""

MIN_VALID_LABELS = 200
"""Slots (and intents, if learned) of valid from which its scores select an epoch."""


def read_split(
    data: DataConfig,
    split: str,
    *,
    intents: bool = False,
    tokenizer: Tokenizer | None = None,
    list_problems: bool = False,
    streaming: bool = False,
) -> ReadResult:
    """Return the labelled sentences of `split`.

    Where `intents` are learned, all sentences of train, valid and test have one. Without a file
    for valid, it is the share `holdout_share` of the training sentences, which train is without.
    `tokenizer` is that of a trained run; without it, one is learned. `list_problems` lists what
    cannot be read, as `read_sentences` does. With `streaming`, training sentences stay on disk.
    Raises UsageError if there is no such split.
    """
    own = data.model_copy(update={"earlier": None})
    tokenizer = tokenizer or fit_tokenizer(data)
    options: Any = {"intents": intents, "tokenizer": tokenizer, "list_problems": list_problems}
    if data.earlier is None:
        return _read_own_split(own, split, **options, streaming=streaming)
    own.holdout = own.holdout or 0.0
    if split not in split_names(data.earlier):
        return _read_own_split(own, split, **options)
    earlier = read_split(data.earlier, split, **options)
    if split != "train" and split not in split_names(own):
        return earlier
    result = _read_own_split(own, split, needs_slots=False, **options)
    if split == "train":
        count = count_earlier(data, len(result.sentences), len(earlier.sentences))
        drawn = select(earlier.sentences, draw_subset(earlier.sentences, count))
        counts = count, len(earlier.sentences)
        result, earlier = replace(result, earlier=counts), replace(earlier, sentences=drawn)
    return replace(
        result,
        sentences=[*result.sentences, *earlier.sentences],
        left_out=[*result.left_out, *earlier.left_out],
        problems=[*result.problems, *earlier.problems],
    )


def count_earlier(data: DataConfig, new: int, earlier: int) -> int:
    """Return how many of the `earlier` training sentences are added to the `new` ones."""
    if data.earlier_share is not None:
        return round(data.earlier_share * earlier)
    return min(earlier, max(MIN_EARLIER, EARLIER_PER_NEW * new))


def _read_own_split(
    data: DataConfig,
    split: str,
    *,
    intents: bool,
    tokenizer: Tokenizer,
    list_problems: bool,
    needs_slots: bool = True,
    streaming: bool = False,
) -> ReadResult:
    """Return what `read_split` does, for data without earlier sentences.

    `needs_slots` is whether the training sentences must have one.
    """
    intents &= split in SPLITS
    path = split_path(data, split)
    if path is None and split not in (names := split_names(data)):
        hint = "; set data.valid=FILE, or data.holdout to more than 0" if split == "valid" else ""
        raise UsageError(f"no split '{split}'{hint or did_you_mean(split, names)}")
    streaming &= split == "train" or path is None
    path = path or split_path(data, "train")
    assert path is not None
    options: Any = {
        "format": data.format,
        "scheme": data.scheme,
        "split": _split_in_file(data, path, split),
        "tokenizer": tokenizer,
        "misaligned": data.misaligned,
        "intents": intents,
        "strict": data.strict,
    }
    if streaming:
        result = store_sentences(path, **options)
    else:
        result = read_sentences(path, **options, list_problems=list_problems)
    has_slots = any(sentence.slots for sentence in result.sentences)
    if split == "train" and needs_slots and not intents and not has_slots:
        problem = (
            f"{path}: none of the {format_count(len(result.sentences), 'training sentence')} has a"
            " slot, so there is nothing to learn; label the slots in some of them"
        )
        if all(intent_names(sentence.intent) for sentence in result.sentences):
            problem += ", or learn their intents alone with intent: attention"
        if not list_problems:
            raise DataError(problem)
        result = replace(result, problems=[*result.problems, problem])
    for sentence in result.sentences:
        try:
            check_size(len(sentence.text), "character", MAX_CHARACTERS, sentence.location)
            check_size(len(sentence.tokens), "token", MAX_TOKENS, sentence.location)
        except DataError as error:
            if not list_problems:
                raise
            result = replace(result, problems=[*result.problems, *error.messages])
    share = holdout_share(data) if split in ("train", "valid") else 0.0
    result = _hold_out(result, share, split) if share else result
    if split == "train" and data.limit and data.limit < len(result.sentences):
        drawn = draw_subset(result.sentences, data.limit)
        result = replace(result, sentences=select(result.sentences, drawn))
    return result


def read_text(
    config: Config, section: Literal["train", "distil"], tokenizer: Tokenizer
) -> list[Sentence]:
    """Return the sentences of `text` in a section, a file of any format, without their labels.

    Raises ConfigError if it is gone, and DataError if it cannot be read or has no words.
    """
    path, data = getattr(config, section).text, config.data
    file = shorten_path(path)
    if not file.exists():
        problem = f"there is no file {file}{nearest_in_folder(Path(path), file)}"
        raise ConfigError(problem, f"{section}.text")
    if file.is_dir():
        raise DataError(f"{file}: a folder; give a file of sentences")
    format = format_from_suffix(file) or find_other_format(file)
    if format is None:
        _, first = next(iter(read_lines(file)), (1, ""))
        format = "jsonl" if first.startswith("{") else "text"
    sentences = []
    for example in read_texts(file, format, data.scheme):
        check_size(len(example.text), "character", MAX_CHARACTERS, example.location)
        sentence = tokenizer.tokenize(example.text, example.location)
        check_size(len(sentence.tokens), "token", MAX_TOKENS, example.location)
        if sentence.tokens:
            sentences.append(sentence)
    if not sentences:
        raise DataError(f"{file}: no sentences; the file has no words")
    return sentences


def fit_tokenizer(data: DataConfig) -> Tokenizer:
    """Return the tokenizer of `data`, with the affixes learned from all its training sentences."""
    learns = data.misaligned == "split" and data.tokenizer in ("words", "whitespace")
    parts: list[DataConfig] = []
    part: DataConfig | None = data
    while learns and part:
        parts.append(part)
        part = part.earlier
    examples = chain.from_iterable(map(_training_examples, parts))
    return Tokenizer.fit(data.tokenizer, data.normalization, examples)


def _training_examples(data: DataConfig) -> Iterator[Example]:
    path = split_path(data, "train")
    assert path is not None
    split = _split_in_file(data, path, "train")
    with suppress(DataError):  # It is said when the sentences are read.
        for example in iterate_examples(path, data.format, data.scheme, problems=[]):
            if split is None or canonical_split(example.split or UNNAMED_SPLIT) == split:
                leave_out_overlaps(example)
                yield example


def _split_in_file(data: DataConfig, path: Path, split: str) -> str | None:
    """Return the split to read of the file `path`; None for all of it, as for one split's file."""
    if data.path is None or path != shorten_path(data.path):
        return None
    return split if path == split_path(data, split) else "train"


def split_names(data: DataConfig) -> list[str]:
    """Return the names of the splits that `read_split` can read."""
    names = [split for split in SPLITS if getattr(data, split)]
    if data.path:
        folder = shorten_path(data.path)
        if is_corpus(folder):
            # Those of SPLITS may have any name, as train.txt, and their format in their content.
            found = [each for each in SPLITS if find_split(folder, each, data.format)]
            names += sorted({*found, *list_splits(folder, data.format)})
        else:
            names += list_file_splits(folder, data.format) or ["train"]
    if holdout_share(data):
        names.append("valid")
    if data.earlier:
        names += split_names(data.earlier)
    return list(dict.fromkeys(names))


def holdout_share(data: DataConfig) -> float:
    """Return the share of the training sentences that is held out as valid; 0 if valid has a file.

    By default sentences are held out if they are enough to select an epoch, or if there are no
    others to score on; few sentences are of more use in train.
    """
    if split_path(data, "valid") is not None:
        return 0.0
    if data.holdout is not None or data.earlier:
        return data.holdout or 0.0
    if split_path(data, "test") is None:
        return DEFAULT_HOLDOUT
    examples = _training_examples(data)
    labels = sum(len(e.spans or ()) + len(intent_names(e.intent)) for e in examples)
    return DEFAULT_HOLDOUT if labels * DEFAULT_HOLDOUT >= MIN_VALID_LABELS else 0.0


def split_path(data: DataConfig, split: str) -> Path | None:
    """Return the file or folder of `split`, or None if there is none.

    Raises DataError where the data is gone, and ConfigError where there is none to train on.
    """
    if split in SPLITS and (named := getattr(data, split)):
        return shorten_path(named)
    folder = shorten_path(data.path) if data.path else None
    split_file = folder if split == "train" else None
    if folder is not None and not folder.exists():
        problem = "no such file or folder, though data.path of the config names it"
        raise DataError(f"{folder}: {problem}")
    if folder is not None and is_corpus(folder):
        split_file = find_split(folder, split, data.format)
    elif folder and split != "train" and split in list_file_splits(folder, data.format):
        split_file = folder
    if split_file is None and split == "train":
        where = f"in {folder}" if folder else "given"
        hint = "set data.path=FOLDER_OR_FILE or data.train=FILE"
        if folder and (names := list_splits(folder, data.format)):
            more = f" and {len(names) - _MAX_NAMES} more" if names[_MAX_NAMES:] else ""
            where += f", which has {', '.join(names[:_MAX_NAMES])}{more}"
            hint = (
                f"call one of them train, or give one: {find_split(folder, names[0], data.format)}"
            )
        raise ConfigError(f"no training sentences {where}; {hint}", key="data.train")
    return split_file


def input_paths(data: DataConfig) -> list[Path]:
    """Return the files and folders of the splits that training uses, if they are there."""
    paths = input_paths(data.earlier) if data.earlier else []
    for split in SPLITS:
        with suppress(SlotfillError):
            if path := split_path(data, split):
                paths.append(path)
    return paths


def _hold_out(reading: ReadResult, share: float, split: str) -> ReadResult:
    """Return the part of the training sentences that is `split`, the same part every time."""
    count = len(reading.sentences)
    size = round(count * share)
    for issue in reading.issues("no empty line") if count == 1 else ():
        raise DataError(f"{issue.location}: {issue.message}; put an empty line after each sentence")
    if not 0 < size < count:
        raise ConfigError(
            f"{share:g} of {format_count(count, 'training sentence')} leaves an empty split; set"
            " data.valid=FILE, or data.holdout=0 to train on all of them",
            key="data.holdout",
        )
    held = draw_holdout(reading.sentences, size)
    drawn = [index for index in range(count) if (index in held) == (split == "valid")]
    sentences = select(reading.sentences, drawn)
    if split == "train":
        return replace(reading, sentences=sentences)
    return replace(reading, sentences=sentences, left_out=(), problems=())


def evaluation_split(data: DataConfig, hint: str = "give --data FILE, or --split train") -> str:
    """Return the split that a run is scored on: test, or valid where there is none.

    Raises UsageError, which ends in `hint`, if there is neither.
    """
    for split in ("test", "valid"):
        if _has_split(data, split):
            return split
    raise UsageError(f"the data has no test and no valid sentences to score on; {hint}")


def _has_split(data: DataConfig, split: str) -> bool:
    if split_path(data, split) or (split == "valid" and holdout_share(data)):
        return True
    return data.earlier is not None and _has_split(data.earlier, split)


def ranks_epochs(valid: Sequence[Sentence], *, intents: bool) -> bool:
    """Return whether `valid` has enough labels for its scores to select an epoch."""
    return count_labels(valid, intents) >= MIN_VALID_LABELS


def count_labels(sentences: Sequence[Sentence], intents: bool) -> int:
    """Return the number of slots in `sentences`, and of intents where they are learned."""
    return sum(len(s.slots or ()) + intents * len(intent_names(s.intent)) for s in sentences)
