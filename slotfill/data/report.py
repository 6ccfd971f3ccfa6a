"""What a corpus contains: its splits, its slots and intents, and what may be wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from slotfill.data.corpus import ReadResult
from slotfill.data.findings import Finding
from slotfill.data.sentence import intent_names

_EXAMPLES = 3
"""Values that are shown of each slot: the most frequent ones."""


@dataclass(frozen=True)
class SplitSummary:
    """The sentences of one split."""

    name: str
    sentences: int
    tokens: int
    slots: int
    intents: int
    """Different intents."""
    median_length: float
    """In tokens, as is the next."""
    max_length: int
    unknown_tokens: float | None
    """The share of tokens that train does not have, in any case; None for train."""


@dataclass(frozen=True)
class NameSummary:
    """A slot or an intent."""

    kind: str
    """`slot` or `intent`."""
    name: str
    counts: dict[str, int]
    """How often it occurs, by split."""
    values: int
    """Different values of a slot, in any case."""
    examples: list[str]
    """Its most frequent values; of an intent, the first texts."""
    mean_length: float
    """The mean length of the slots, or of the sentences with the intent, in tokens."""


@dataclass(frozen=True)
class DataReport:
    """What a corpus contains, and what may be wrong with it."""

    name: str
    tokenizer: str
    splits: list[SplitSummary]
    names: list[NameSummary]
    """The slots, then the intents, the most frequent first."""
    findings: list[Finding]


def describe_data(
    name: str, splits: Mapping[str, ReadResult], findings: Sequence[Finding]
) -> DataReport:
    """Return the report on the splits, of which train is one."""
    known = {token.casefold() for s in splits["train"].sentences for token in s.tokens}
    summaries = []
    for split, result in splits.items():
        lengths = [len(sentence.tokens) for sentence in result.sentences]
        unknown = sum(token.casefold() not in known for s in result.sentences for token in s.tokens)
        intents = {each for s in result.sentences for each in intent_names(s.intent)}
        summaries.append(
            SplitSummary(
                split,
                len(lengths),
                sum(lengths),
                sum(len(sentence.slots or ()) for sentence in result.sentences),
                len(intents),
                median(lengths or [0]),
                max(lengths, default=0),
                None
                if split == "train" or not (known and lengths)
                else unknown / max(sum(lengths), 1),
            )
        )
    names = _describe_names(splits)
    return DataReport(name, splits["train"].tokenizer.name, summaries, names, list(findings))


def _describe_names(splits: Mapping[str, ReadResult]) -> list[NameSummary]:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    values: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    tokens = Counter[tuple[str, str]]()
    for split, result in splits.items():
        for sentence in result.sentences:
            labels = [
                ("slot", slot.name, sentence.value(slot), slot.end - slot.start)
                for slot in sentence.slots or ()
            ]
            length = len(sentence.tokens)
            labels += [
                ("intent", name, sentence.text, length) for name in intent_names(sentence.intent)
            ]
            for kind, name, value, length in labels:
                counts[kind, name][split] += 1
                values[kind, name][value] += 1
                tokens[kind, name] += length
    summaries = []
    for (kind, name), by_split in counts.items():
        found = values[kind, name]
        different = len({value.casefold() for value in found}) if kind == "slot" else 0
        examples = [value for value, _ in found.most_common(_EXAMPLES)]
        mean = tokens[kind, name] / by_split.total()
        by_name = {split: by_split[split] for split in splits}
        summaries.append(NameSummary(kind, name, by_name, different, examples, mean))
    return sorted(
        summaries, key=lambda each: (each.kind != "slot", -sum(each.counts.values()), each.name)
    )
