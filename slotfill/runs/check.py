"""Checking a config without training: its keys, its network, and the sentences it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from slotfill.config.builtin import default_config, is_config, load_config
from slotfill.config.models import Config, external_part_files
from slotfill.config.registry import are_external_parts_trusted
from slotfill.config.sections import DataConfig
from slotfill.data.corpus import ReadResult
from slotfill.data.findings import Finding, find_problems, sort_by_place
from slotfill.data.folders import split_name
from slotfill.data.report import DataReport, describe_data
from slotfill.data.sentence import intent_names
from slotfill.data.split_findings import check_limit, check_splits, check_values
from slotfill.data.splits import SPLITS, fit_tokenizer, read_split, read_text, split_names
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.values import KnownValues
from slotfill.data.vocab import Vocab, check_described_slots, check_slot_names
from slotfill.errors import DataError, UsageError, format_count
from slotfill.extras import required_for
from slotfill.files import STANDARD_INPUT
from slotfill.runs.continuation import (
    check_continues,
    find_base,
    load_with_base,
    read_base_config,
)
from slotfill.runs.distil import prepare
from slotfill.training.imbalance import sentence_weights


def check_config(
    config: str | None, overrides: Sequence[str] = ()
) -> tuple[str, list[str], list[str]]:
    """Return the name of `config`, a summary of each split of its data, and likely problems.

    `config` may also be a path of sentences; None is what `train` trains on without a config.

    Raises:
        UsageError: there is no such config.
        ConfigError: the config has errors, or its parts cannot be combined.
        DataError: its sentences cannot be read.
    """

    def load(base: Config | None) -> tuple[str, Config]:
        if config is None:  # As train does, which may hold sentences out.
            return load_config(None, overrides, need_data=True, base=base)
        return _load(config, overrides, base)

    name, loaded, _ = load_with_base(load, None)
    files = [] if are_external_parts_trusted() else list(external_part_files(loaded.model_dump()))
    not_verified = [f"{file} is executed only with --trust" for file in files]
    if not files:
        try:
            with required_for("building the network"):
                from slotfill.model.build import check_buildable
        except UsageError as error:
            not_verified.append(str(error))
        else:
            check_buildable(loaded)
    results, summaries, problems = {}, [], list[str]()
    with loaded.locate_errors():
        if loaded.train.from_run:
            run = find_base(loaded)
            check_continues(loaded, read_base_config(run)[0], run)
        tokenizer = fit_tokenizer(loaded.data)
        for split in sorted(split_names(loaded.data), key=_rank_split):
            try:
                result = _read(loaded, loaded.data, split, tokenizer)
            except DataError as error:
                problems += sort_by_place(error.messages)
                continue
            problems += sort_by_place(result.list_problems())
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
        if problems:
            raise DataError(*dict.fromkeys(problems))
        slot_names = {slot.name for s in results["train"].sentences for slot in s.slots or ()}
        sentence_weights(results["train"].sentences, loaded.train)
        uses_names = bool(loaded.tagger.options.get("slot_names"))
        check_described_slots(loaded.data.slots, slot_names, uses_names=uses_names)
        if uses_names:
            slot_names |= loaded.data.slots.keys()
        check_slot_names("thresholds", loaded.thresholds, slot_names)
        if loaded.train.text:
            read_text(loaded, "train", results["train"].tokenizer)
        if loaded.distil.teachers:
            prepare(loaded, results["train"].sentences, results["train"].tokenizer)
        KnownValues.read(loaded, results["train"].tokenizer)
        if config is not None and is_config(config) and not not_verified:
            summaries.append(f"network: {_describe_costs(loaded, results['train'])}")
    findings = find_all(loaded, results)
    warnings = [finding.message for finding in findings if not finding.is_usual]
    return name, summaries, [*warnings, *(f"not verified: {reason}" for reason in not_verified)]


def _describe_costs(config: Config, train: ReadResult) -> str:
    """Return the parameters and multiply-adds of the network that training builds."""
    from slotfill.model.build import build_model
    from slotfill.model.cost import count_multiply_adds
    from slotfill.model.generators.base import Generator

    vocab = Vocab.from_sentences(
        train.sentences,
        config.scheme,
        intents=bool(config.intent),
        tokenizer=train.tokenizer,
        descriptions=config.data.slots,
    )
    model = build_model(config, vocab)
    parameters = format_count(sum(weight.numel() for weight in model.parameters()), "parameter")
    if isinstance(model, Generator):
        return parameters
    return f"{parameters}, {count_multiply_adds(model, train.sentences):,} multiply-adds per token"


def find_all(config: Config, splits: Mapping[str, ReadResult]) -> list[Finding]:
    """Return the likely problems of the splits of `config`."""
    corpus = {split: result.sentences for split, result in splits.items()}
    slot_names = {slot.name for s in corpus["train"] for slot in s.slots or ()}
    compared = check_splits(corpus, intents=bool(config.intent))
    return [
        *(compared if config.generator is None else ()),
        *check_values(config, slot_names),
        *check_limit(config, len(corpus["train"]) - splits["train"].earlier[0]),
        *find_problems(splits),
    ]


def report_data(words: Sequence[str], overrides: Sequence[str] = ()) -> DataReport:
    """Return what a config's data or the sentences of paths are, and what may be wrong with them.

    Several paths are splits called after their files; the first is train, if no other is. Raises
    what `check_config` raises.
    """
    paths = {split_name(Path(word)): word for word in words} if words[1:] else {}
    if paths and len(paths) < len(words):
        raise UsageError("two of the files have the same name; give a folder for each corpus")
    train = paths.pop("train" if "train" in paths else next(iter(paths))) if paths else None
    if train is not None:
        overrides = [_set_path("data.train", train), *overrides]
    word = words[0] if words and not train else None
    name, config = _load(word, overrides)
    with config.locate_errors():
        names = sorted(split_names(config.data), key=_rank_split)
        sources = {split: (config.data, split) for split in names}
        for split, path in paths.items():
            sources[split] = (config.data.model_copy(update={"test": path}), "test")
        tokenizer = fit_tokenizer(config.data)
        splits: dict[str, ReadResult] = {}
        for split, (data, own_name) in sources.items():
            try:
                splits[split] = _read(config, data, own_name, tokenizer)
            except DataError as error:
                known = {each for result in splits.values() for each in result.problems}
                problems = [each for each in error.messages if each not in known]
                splits[split] = ReadResult([], tokenizer, problems=problems)
    findings = find_all(config, splits)
    findings.sort(key=lambda finding: not finding.is_error)
    return describe_data(name, splits, findings)


def resolve_data(word: str | None, overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the config that `word` is, or None if it is a path, which is then set by overrides."""
    if word is None:
        return default_config(overrides), list(overrides)
    if is_config(word):
        return word, list(overrides)
    return None, [_set_path("data.path", word), *overrides]


def _load(
    word: str | None, overrides: Sequence[str], base: Config | None = None
) -> tuple[str, Config]:
    """Return the name and the config that `word` is, or that of sentences, to be read as they are.

    It may be the standard input, which must then be kept. `base` is the config of the run that
    training continues, if any.
    """
    if word == "-":
        _, config = load_config(None, ["data.holdout=0", *overrides])
        data = config.data.model_copy(update={"path": None, "train": str(STANDARD_INPUT)})
        return str(STANDARD_INPUT), config.model_copy(update={"data": data})
    config_name, overrides = resolve_data(word, overrides)
    if config_name is None:
        overrides = ["data.holdout=0", *overrides]
    return load_config(config_name, overrides, need_data=True, base=base)


def _rank_split(split: str) -> int:
    """Return the position of train, valid and test, before all others."""
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _set_path(key: str, path: str) -> str:
    return f"{key}={json.dumps(path, ensure_ascii=False)}"


def _read(config: Config, data: DataConfig, split: str, tokenizer: Tokenizer) -> ReadResult:
    intents = bool(config.intent)
    return read_split(data, split, intents=intents, tokenizer=tokenizer, list_problems=True)
