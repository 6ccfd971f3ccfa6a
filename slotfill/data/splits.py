"""Splits: the sentences that a config names for training, validation, test and others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slotfill.config.models import Config, DataConfig
from slotfill.data.alignment import leave_out_overlaps
from slotfill.data.convert import write_checked
from slotfill.data.corpus import (
    ReadResult,
    draft_file,
    iterate_examples,
    read_sentences,
    read_texts,
    store_sentences,
)
from slotfill.data.detection import find_other_format, format_from_suffix, guess_format
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
    Issue,
    Sentence,
    check_size,
    intent_names,
)
from slotfill.data.stored import select
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


def draw_holdout(sentences: Sequence[Sentence], size: int) -> set[int]:
    """Draw the indices of `size` sentences so that both parts have every label, if possible.

    Labels are slot names and intents. Rare ones are covered first, as in iterative stratification
    (Sechidis et al. 2011), and the other sentences are drawn at random, all from a fixed seed. Of
    a label that only one sentence has, that sentence is drawn last.
    """
    labels = _list_labels(sentences)
    in_train = Counter(chain.from_iterable(labels))
    order = np.random.default_rng(0).permutation(len(sentences)).tolist()
    with_label: dict[tuple[str, str], list[int]] = {}
    for index in order:
        for label in labels[index]:
            with_label.setdefault(label, []).append(index)
    held: set[int] = set()
    in_valid: set[tuple[str, str]] = set()

    def hold(index: int) -> None:
        held.add(index)
        in_train.subtract(labels[index])
        in_valid.update(labels[index])

    def leaves_labels(index: int) -> bool:
        return index not in held and all(in_train[label] > 1 for label in labels[index])

    for label in sorted(with_label, key=lambda label: (len(with_label[label]), label)):
        candidates = list(filter(leaves_labels, with_label[label]))
        if len(held) < size and label not in in_valid and candidates:
            hold(max(candidates, key=lambda index: len(labels[index] - in_valid)))
    for is_drawn in (leaves_labels, lambda index: index not in held):
        for index in order:
            if len(held) < size and is_drawn(index):
                hold(index)
    return held


def draw_folds(sentences: Sequence[Sentence], count: int, seed: int = 0) -> list[list[int]]:
    """Divide the indices of `sentences` at random into `count` folds of similar size and labels.

    Sentences with the same text are in the same fold. Raises UsageError if there are too few.
    """
    groups, labels = _group_by_text(sentences)
    if len(groups) < count:
        raise UsageError(f"{count} folds of only {len(groups)} different training sentences")
    folds: list[list[int]] = [[] for _ in range(count)]
    for group in _shuffle_by_labels(labels, seed):
        min(folds, key=len).extend(groups[group])
    return [sorted(fold) for fold in folds]


def draw_splits(
    sentences: Sequence[Sentence], shares: Mapping[str, float], seed: int = 0
) -> dict[str, list[int]]:
    """Divide the indices of `sentences` at random into train and splits of the given shares.

    Each split has the labels in proportion, and train has at least one sentence with each label.
    Sentences with the same text are in the same split.
    """
    groups, labels = _group_by_text(sentences)
    shares = {"train": 1 - sum(shares.values()), **shares}
    splits: dict[str, list[int]] = {split: [] for split, share in shares.items() if share > 0}
    in_train: set[tuple[str, str]] = set()
    # Of neighbours in this order, which have similar labels, each split gets its share.
    for group in _shuffle_by_labels(labels, seed):
        size = len(groups[group])
        split = min(splits, key=lambda name: (len(splits[name]) + size / 2) / shares[name])
        if not labels[group] <= in_train:
            split = "train"
        if split == "train":
            in_train |= labels[group]
        splits[split] += groups[group]
    return {split: sorted(indices) for split, indices in splits.items()}


def split_file(
    source: Path,
    out: Path,
    shares: Mapping[str, float],
    *,
    seed: int = 1,
    from_format: str | None = None,
    to_format: str | None = None,
    scheme: str = "iob2",
    lossy: bool = False,
) -> tuple[dict[str, int], list[Issue]]:
    """Write the splits of the file `source` to the new folder `out`; return their sizes.

    They are drawn by `draw_splits` and written in the format `to_format`, by default that of
    `source`. What is lost is returned, too. Raises UsageError where a split would be empty, and
    what `convert_file` raises.
    """
    if not 0 < sum(shares.values()) < 1:
        raise UsageError(
            "--valid and --test: together more than 0 and less than 1, as 0.1 and 0.1, found"
            f" {' and '.join(f'{share:g}' for share in shares.values())}"
        )
    if is_corpus(source) and (names := list_splits(source, from_format)):
        train = find_split(source, "train" if "train" in names else names[0], from_format)
        raise UsageError(
            f"{source}: has the splits {', '.join(names)}, which data.path={source} uses; divide"
            f" one of them: slotfill split {train} --out {out}"
        )
    result = read_sentences(
        source, format=from_format, scheme=scheme, keep_tokens=True, extra=True, labelled=False
    )
    splits = draw_splits(result.sentences, shares, seed)
    for split, indices in splits.items():
        if not indices:
            count = len({sentence.text.casefold() for sentence in result.sentences})
            different = f"of {format_count(count, 'different sentence')}, {split} would get none"
            hint = f"; raise --{split}, or leave it out with --{split} 0"
            raise UsageError(f"{source}: {different}{hint if split in shares else ''}")
    own_format = from_format or guess_format(source)
    with draft_file(out, to_format or own_format) as (draft, part):
        keeps_format = to_format in (None, own_format)
        suffix = (source.suffix if keeps_format else "") or next(iter(part.suffixes), "")
        draft.mkdir()
        losses = result.issues("no words")
        for split, indices in splits.items():
            own = ReadResult([result.sentences[index] for index in indices], result.tokenizer)
            path = (draft / split).with_suffix(suffix)
            target = out / path.name
            losses += write_checked(path, part, own, scheme, lossy=lossy, target=target)[1]
    return {split: len(indices) for split, indices in splits.items()}, losses


def _group_by_text(
    sentences: Sequence[Sentence],
) -> tuple[list[list[int]], list[set[tuple[str, str]]]]:
    """Return the indices of the sentences with each text, and the labels that they have."""
    by_text: dict[str, list[int]] = defaultdict(list)
    labels: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for index, sentence in enumerate(sentences):
        by_text[sentence.text.casefold()].append(index)
        labels[sentence.text.casefold()] |= sentence.labels
    return list(by_text.values()), list(labels.values())


def draw_subset(sentences: Sequence[Sentence], size: int, seed: int = 0) -> list[int]:
    """Draw the indices of `size` sentences at random, with each label in proportion.

    With the same seed, a smaller subset is part of each larger one.
    """
    order = _shuffle_by_labels(_list_labels(sentences), seed)
    # Multiples of the golden ratio, modulo 1, are spread evenly in each run of neighbours.
    start = np.random.default_rng(seed).random()
    priorities = (start + np.arange(len(order)) * (5**0.5 - 1) / 2) % 1
    return sorted(order[position] for position in np.argsort(priorities)[:size].tolist())


def _list_labels(sentences: Iterable[Sentence]) -> list[frozenset[tuple[str, str]]]:
    """Return the labels of each sentence; equal ones are stored once, to save memory."""
    seen: dict[frozenset[tuple[str, str]], frozenset[tuple[str, str]]] = {}
    return [seen.setdefault(own, own) for own in (frozenset(each.labels) for each in sentences)]


def _shuffle_by_labels(labels: Sequence[Set[tuple[str, str]]], seed: int) -> list[int]:
    """Return positions in random order, but those with the same rare labels next to each other."""
    counts = Counter(chain.from_iterable(labels))
    ranks = {label: rank for rank, (label, _) in enumerate(reversed(counts.most_common()))}
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    return sorted(order, key=lambda index: sorted(ranks[label] for label in labels[index]))


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
