"""Findings on splits beside each other, and on the names of a config beside those of training."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING

from slotfill.data.findings import Finding, list_some
from slotfill.data.sentence import Sentence
from slotfill.data.splits import count_labels, ranks_epochs
from slotfill.errors import format_count

if TYPE_CHECKING:
    from slotfill.config.models import Config

_Labels = Counter[tuple[str, str]]
"""How often each name occurs, by its kind, slot or intent, and itself."""


def check_splits(splits: Mapping[str, Sequence[Sentence]], *, intents: bool) -> list[Finding]:
    """Return likely problems of the splits of a corpus that show when they are compared."""
    findings: list[Finding] = []
    valid = splits.get("valid")
    labels = count_labels(valid or (), intents)
    if valid and not labels:
        message = (
            f"valid: none of its {format_count(len(valid), 'sentence')} has a slot, so that its F1"
            " is always 0; the last epoch is kept; set data.valid=FILE, or data.holdout=0 to train"
            " on all sentences"
        )
        findings.append(Finding("few-labels", message))
    elif valid and not ranks_epochs(valid, intents=intents):
        # The normal approximation of a 95 % interval, which is widest at an F1 of 50.
        margin = 196 * math.sqrt(0.25 / labels)
        message = (
            f"valid: {format_count(labels, 'label' if intents else 'slot')}"
            f" {'is' if labels == 1 else 'are'} too few to select an epoch (F1 is uncertain by up"
            f" to {margin:.0f} points); the last epoch is kept"
        )
        findings.append(Finding("few-labels", message))
    by_split = {split: _count_labels(sentences) for split, sentences in splits.items()}
    for split in splits if splits["train"] else ():
        for kind in ("slot", "intent") if intents else ("slot",):
            findings += _compare_names(splits, by_split, split, kind)
    return findings


def check_values(config: Config, names: Collection[str]) -> Iterator[Finding]:
    """Yield each slot of rules, synonyms and resolve that is not in `names`, those of training.

    A rule may fill a slot of its own, unless its name is nearly one of `names`.
    """
    filled = {rule.slot for rule in config.rules if rule.action == "fill"}
    slots: list[tuple[str, str, str]] = [
        (f"rules.{i}.slot", rule.slot, rule.action) for i, rule in enumerate(config.rules)
    ]
    slots += [(f"synonyms.{slot}", slot, "") for slot in config.synonyms]
    slots += [(f"resolve.slots.{slot}", slot, "") for slot in config.resolve.slots]
    for key, slot, action in slots:
        near = get_close_matches(slot, names, n=1)
        if slot not in names and (near if action == "fill" else action or slot not in filled):
            near = near or get_close_matches(slot, filled - {slot}, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            yield Finding("values", f"{key}: no training sentence has a slot '{slot}'{hint}")
        elif slot not in names and re.search(r"[][()\s]", slot):
            message = "has a space or a bracket; tags of files cannot have it"
            yield Finding("values", f"{key}: the slot '{slot}' {message}")


def check_limit(config: Config, sentences: int) -> Iterator[Finding]:
    """Yield a finding if `data.limit` is more than the training `sentences` that there are."""
    if (limit := config.data.limit) and 0 < sentences < limit:
        found = format_count(sentences, "training sentence")
        yield Finding("limit", f"data.limit: {limit:,} is more than the {found} of train; all used")


def _compare_names(
    splits: Mapping[str, Sequence[Sentence]], labels: Mapping[str, _Labels], split: str, kind: str
) -> Iterator[Finding]:
    """Yield the names of slots or intents that only train or only `split` has.

    A name that `split` lacks is a problem where `split` has other names instead, or where at least
    five sentences with it were to be expected there.
    """
    in_train, in_split = (
        {name: count for (own_kind, name), count in labels[each].items() if own_kind == kind}
        for each in ("train", split)
    )
    if not in_split:
        return
    if unknown := in_split.keys() - in_train.keys():
        names = _list_names(unknown, in_train, "train")
        message = f"{kind} names that train does not have and the model cannot learn: {names}"
        yield Finding("names", f"{split}: {message}", _find_labels(splits[split], kind, unknown))
    share = len(splits[split]) / len(splits["train"])
    missing = in_train.keys() - in_split.keys()
    if missing := {name for name in missing if unknown or in_train[name] * share >= 5}:
        names = _list_names(missing, in_split, split)
        message = f"train: {kind} names that {split} does not have: {names}"
        yield Finding("names", message, _find_labels(splits["train"], kind, missing))


def _find_labels(sentences: Iterable[Sentence], kind: str, names: Collection[str]) -> list[str]:
    """Return the first place of each of `names`."""
    places: dict[str, str] = {}
    for sentence in sentences:
        for label, name in sentence.labels:
            if label == kind and name in names:
                places.setdefault(name, f"{sentence.location}: {kind} '{name}'")
    return [places[name] for name in sorted(places)]


def _count_labels(sentences: Iterable[Sentence]) -> _Labels:
    """Return in how many sentences each slot name and each intent occurs."""
    return Counter(chain.from_iterable(sentence.labels for sentence in sentences))


def _list_names(names: Iterable[str], others: Iterable[str], split: str) -> str:
    """List some of `names`, each with the nearest of the names that another split has."""
    folded = {name.casefold(): name for name in others}
    listed = []
    for name in sorted(names):
        near = get_close_matches(name.casefold(), folded, n=1)
        listed.append(f"'{name}'" + "".join(f" (nearest in {split}: '{folded[n]}')" for n in near))
    return list_some(listed)
