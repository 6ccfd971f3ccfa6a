"""Splits: the sentences that a config names for training, validation, test and others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from slotfill.config.models import DataConfig
from slotfill.data.corpus import ReadResult, find_split, read_examples, read_sentences, splits_in
from slotfill.data.sentence import Example
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import ConfigError, DataError, UsageError, did_you_mean


def read_split(
    data: DataConfig, split: str, *, intents: bool = False, tokenizer: Tokenizer | None = None
) -> ReadResult:
    """Return the labelled sentences of `split`; where `intents` are learned, all of train, valid
    and test have one.

    Without a file of its own `valid` is the held-out share of the training sentences, which `train`
    is then without. Raises UsageError where there is no such split, and DataError where its file
    cannot be read. `tokenizer` is that of a trained run; without it, one is learned.
    """
    tokenizer = tokenizer or fit_tokenizer(data)
    intents &= split in ("train", "valid", "test")
    path = split_path(data, split)
    if path is None and split not in ("train", "valid"):
        raise UsageError(f"no split '{split}'{did_you_mean(split, split_names(data))}")
    if path is None or (split == "train" and split_path(data, "valid") is None):
        return _hold_out(
            _read(data, split_path(data, "train"), intents, tokenizer), data.holdout, split
        )
    return _read(data, path, intents, tokenizer)


def fit_tokenizer(data: DataConfig) -> Tokenizer:
    """Return the tokenizer of `data`, with the affixes learned from all its training sentences."""
    examples: list[Example] = []
    if data.misaligned == "split" and data.tokenizer in ("words", "whitespace"):
        path = split_path(data, "train")
        assert path is not None
        examples = read_examples(path, format=data.format, scheme=data.scheme)
    return Tokenizer.fit(data.tokenizer, data.normalization, examples)


def split_names(data: DataConfig) -> list[str]:
    """Return the names of the splits that `read_split` can read."""
    given = [split for split in ("train", "valid", "test") if getattr(data, split)]
    folder = Path(data.path) if data.path else None
    if folder is not None:
        given += splits_in(folder, data.format) if _is_corpus(folder) else ["train"]
    return list(dict.fromkeys((*given, "valid")))


def split_path(data: DataConfig, split: str) -> Path | None:
    """Return the file or folder of `split`, or None if there is none.

    Raises DataError where the data is gone, and ConfigError where there is none to train on.
    """
    named = getattr(data, split, None) if split in ("train", "valid", "test") else None
    if named:
        return Path(named)
    folder = Path(data.path) if data.path else None
    if folder is not None and not folder.exists():
        raise DataError(
            f"{folder}: no such file or folder, though data.path of the config names it"
        )
    if folder is not None and _is_corpus(folder):
        found = find_split(folder, split, data.format)
    else:
        found = folder if split == "train" else None
    if found is None and split == "train":
        where = f"in {folder}" if folder else "given"
        raise ConfigError(
            f"no training sentences {where}; set data.path=FOLDER_OR_FILE or data.train=FILE",
            key="data.train",
        )
    return found


def _is_corpus(path: Path) -> bool:
    """Tell whether `path` is a folder of splits, and not itself the one thing to read, as of format
    jointslu.
    """
    return path.is_dir() and not (path / "seq.in").is_file()


def _read(data: DataConfig, path: Path | None, intents: bool, tokenizer: Tokenizer) -> ReadResult:
    assert path is not None
    return read_sentences(
        path,
        format=data.format,
        scheme=data.scheme,
        tokenizer=tokenizer,
        misaligned=data.misaligned,
        intents=intents,
    )


def _hold_out(reading: ReadResult, share: float, split: str) -> ReadResult:
    """Return the part of the training sentences that is `split`, the same part every time."""
    count = len(reading.sentences)
    held = round(count * share)
    if not 0 < held < count:
        raise ConfigError(
            f"{share:g} of {count} training sentences leaves a part without any; set"
            " data.valid=FILE",
            key="data.holdout",
        )
    order = np.random.default_rng(0).permutation(count).tolist()
    chosen: Iterable[int] = sorted(order[:held] if split == "valid" else order[held:])
    return ReadResult([reading.sentences[i] for i in chosen], reading.tokenizer)


def evaluation_split(data: DataConfig) -> str:
    """Return the split that a run is scored on at last: test, or valid where there is none."""
    return "test" if split_path(data, "test") else "valid"
