"""Checking a config without training: its keys, its network, and the sentences it names."""

from __future__ import annotations

from collections.abc import Sequence

from slotfill.config.builtin import load_config
from slotfill.config.models import external_part_files
from slotfill.config.registry import are_external_parts_trusted
from slotfill.data.alignment import MisalignedError
from slotfill.data.findings import check_splits, check_values, find_problems
from slotfill.data.sentence import intent_names
from slotfill.data.splits import read_split, split_names
from slotfill.data.values import KnownValues
from slotfill.data.vocab import check_slot_names
from slotfill.errors import DataError, format_count
from slotfill.training.imbalance import sentence_weights


def check_config(
    config: str | None, overrides: Sequence[str] = ()
) -> tuple[str, list[str], list[str]]:
    """Return the name of `config`, a summary of each split of its data, and likely problems.

    Raises:
        UsageError: there is no such config.
        ConfigError: the config has errors, or its parts cannot be combined.
        DataError: its sentences cannot be read.
    """
    from slotfill.model.build import check_buildable

    name, loaded = load_config(config, overrides, need_data=True)
    files = [] if are_external_parts_trusted() else list(external_part_files(loaded.model_dump()))
    if not files:
        check_buildable(loaded)
    results, summaries = {}, []
    with loaded.locate_errors():
        for split in split_names(loaded.data):
            try:
                result = read_split(loaded.data, split, intents=bool(loaded.intent))
            except MisalignedError as error:
                raise DataError(*error.problems) from None
            results[split] = result
            slots = sum(len(sentence.slots or ()) for sentence in result.sentences)
            counts = [(len(result.sentences), "sentence"), (slots, "slot")]
            if loaded.intent:
                names = {name for s in result.sentences for name in intent_names(s.intent)}
                counts.append((len(names), "intent"))
            summary = ", ".join(format_count(*count) for count in counts)
            if unknown := sum(end - start for s in result.sentences for start, end in s.unknown):
                summary += f", {format_count(unknown, 'unknown label')}"
            if result.repaired_tags:
                summary += f", {format_count(result.repaired_tags, 'tag')} repaired"
            summaries.append(f"{split}: {summary}")
        slot_names = {slot.name for s in results["train"].sentences for slot in s.slots or ()}
        sentence_weights(results["train"].sentences, loaded.train)
        check_slot_names("thresholds", loaded.thresholds, slot_names)
        KnownValues.read(loaded, results["train"].tokenizer)
    corpus = {split: result.sentences for split, result in results.items()}
    findings = [
        *check_splits(corpus, intents=bool(loaded.intent)),
        *check_values(loaded, slot_names),
        *find_problems(results),
    ]
    not_executed = [f"not verified: {file} is executed only with --trust" for file in files]
    return name, summaries, [*findings, *not_executed]
