"""Checking a config without training: its keys, its network, and the sentences it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slotfill.config.builtin import load_config
from slotfill.config.models import external_part_files
from slotfill.config.registry import external_parts_trusted
from slotfill.data.alignment import MisalignedError
from slotfill.data.findings import check_splits, find_problems
from slotfill.data.sentence import intent_names
from slotfill.data.splits import read_split, split_names
from slotfill.errors import DataError


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Numbers of what a split contains."""

    split: str
    sentences: int
    slots: int
    intents: int | None
    """Number of distinct intents; None if they are not learned."""
    repaired_tags: int
    """Tags that were illegal in their scheme and have been repaired."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Summary of a valid config and its data, with likely problems."""

    name: str
    splits: list[SplitSummary]
    findings: list[str]
    """Likely problems in the sentences."""
    not_executed: list[str]
    """Files of user-defined parts that were read, but not executed, so that they may not work."""


def check_config(config: str | None, overrides: Sequence[str] = ()) -> CheckResult:
    """Return a summary of the data of `config`, which `load_config` reads, and likely problems.

    Raises:
        UsageError: there is no such config.
        ConfigError: the config has errors, or its parts cannot be combined.
        DataError: its sentences cannot be read.
    """
    from slotfill.model.build import check_buildable

    name, loaded = load_config(config, overrides, need_data=True)
    files = [] if external_parts_trusted() else list(external_part_files(loaded.model_dump()))
    if not files:
        check_buildable(loaded)
    results = {}
    with loaded.locate_errors():
        for split in split_names(loaded.data):
            try:
                results[split] = read_split(loaded.data, split, intents=bool(loaded.intent))
            except MisalignedError as error:
                raise DataError(*error.problems) from None
    corpus = {split: result.sentences for split, result in results.items()}
    splits = [
        SplitSummary(
            split,
            len(corpus[split]),
            sum(len(sentence.slots or ()) for sentence in corpus[split]),
            len({name for sentence in corpus[split] for name in intent_names(sentence.intent)})
            if loaded.intent
            else None,
            result.repaired_tags,
        )
        for split, result in results.items()
    ]
    findings = check_splits(corpus, intents=bool(loaded.intent)) + find_problems(results)
    return CheckResult(name, splits, findings, files)
