"""Evaluation: tag labelled sentences and score the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slotfill.config.validate import load_config
from slotfill.data.corpus import format_named, read_sentences
from slotfill.data.sentence import Sentence, intent_names
from slotfill.data.splits import final_split, read_split
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError
from slotfill.inference.engine import Engine
from slotfill.inference.tagging import label
from slotfill.run import Run
from slotfill.score import Score, intent_accuracy, score, score_intents, slot_f1


def rates(model: Engine, vocab: Vocab, sentences: Sequence[Sentence]) -> tuple[float, float | None]:
    """Return the F1 of slots alone, and the accuracy of intents, None where `model` has not learned any."""
    slots, intents = label(model, vocab, sentences)
    return slot_f1(sentences, slots), intent_accuracy(sentences, intents) if vocab.intents else None


def evaluate(model: Engine, vocab: Vocab, sentences: Sequence[Sentence]) -> Score:
    """Return the score of `model` on labelled `sentences`, with what in them it has never seen.

    Intents are scored where `model` has learned them and the sentences have some. Raises DataError where one has none.
    """
    slots, intents = label(model, vocab, sentences)
    result = score(sentences, slots)
    result.unknown_words = sum(not vocab.knows(token) for sentence in sentences for token in sentence.tokens)
    known = set(vocab.slot_names)
    unknown = [slot.name for sentence in sentences for slot in sentence.slots or () if slot.name not in known]
    result.unknown_slots = len(unknown)
    result.unknown_names = sorted(set(unknown))
    if vocab.intents and any(sentence.intent for sentence in sentences):
        names = [intent_names(sentence.intent) for sentence in sentences]
        if [] in names:
            place = sentences[names.index([])].place
            raise DataError(f"{place}: the sentence has no intent, though others have; give it one")
        result.intent = score_intents(sentences, slots, intents)
        known = set(vocab.intent_names)
        unknown = [name for each in names for name in each if name not in known]
        result.intent.unknown_intents = len(unknown)
        result.intent.unknown_names = sorted(set(unknown))
    return result


def _name(format: str | dict[str, Any]) -> str:
    return format if isinstance(format, str) else str(format["name"])


def evaluate_run(
    run: Run, *, split: str | None = None, path: Path | None = None, overrides: Sequence[str] = ()
) -> Score:
    """Return the score of `run` on a split of its own data, the final one if none is named, or on `path`.

    The labelled sentences in `path` are read as those of the run's data, but for a format that its name tells and
    for `overrides` such as `data.scheme=bioes`. Raises ConfigError where one is wrong.
    """
    data = run.config.data
    if overrides:
        data = load_config(run.config.to_yaml(), "config", overrides).data
    if path is None:
        reading = read_split(data, split or final_split(data))
    else:
        named = format_named(path)
        told = any(override.startswith("data.format") for override in overrides)
        format = data.format if told or named is None or _name(data.format) == named else named
        reading = read_sentences(path, format=format, scheme=data.scheme, tokenizer=data.tokenizer)
    return evaluate(run.model, run.vocab, reading.sentences)
