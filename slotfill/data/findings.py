"""Findings: likely problems in data that can be read, as `where: problem; hint`."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING

from slotfill.data.corpus import ReadResult
from slotfill.data.sentence import Issue, Sentence, Slot
from slotfill.data.splits import count_labels, ranks_epochs
from slotfill.data.tokenizers import Tokenizer

if TYPE_CHECKING:
    from slotfill.config.models import Config

_MAX_LISTED = 5
_USUAL_REPETITION = 0.1
"""The share of sentences that repeat another one in corpora of user utterances."""

_REPAIRED_SLOTS = {
    "corrected offset": "offsets corrected",
    "overlap": "overlapping slots left out",
    "widen": "misaligned slots widened",
    "skip": "misaligned slots skipped",
}
"""How the repairs of slots are listed, by the kind of their issues."""


def find_problems(splits: Mapping[str, ReadResult]) -> list[str]:
    """Return the likely problems of the sentences of each split, by name."""
    findings: list[str] = []
    for split, result in splits.items():
        findings += _find_repairs(split, result)
        findings += _find_duplicates(split, result.sentences)
    for result in list(splits.values())[:1]:
        findings += _find_affixes(result.tokenizer)
    findings += _find_shared_sentences(splits)
    findings += _find_similar_names(splits)
    return findings


def check_splits(splits: Mapping[str, Sequence[Sentence]], *, intents: bool) -> list[str]:
    """Return likely problems of the splits of a corpus that show when they are compared."""
    findings: list[str] = []
    valid = splits.get("valid")
    labels = count_labels(valid or (), intents)
    if valid is not None and not labels:
        findings.append(
            f"valid: none of its {len(valid)} sentences has a slot, so that its F1 is always 0; the"
            " last epoch is kept; set data.valid=FILE, or data.holdout=0 to train on all sentences"
        )
    elif valid is not None and not ranks_epochs(valid, intents=intents):
        # The normal approximation of a 95 % interval, which is widest at an F1 of 50.
        margin = 196 * math.sqrt(0.25 / labels)
        findings.append(
            f"valid: {labels} {'labels' if intents else 'slots'} are too few to select an epoch"
            f" (F1 is uncertain by up to {margin:.0f} points); the last epoch is kept"
        )
    for split in ("valid", "test"):
        for kind in ("slot", "intent") if intents else ("slot",):
            findings += _compare_names(splits, split, kind)
    return findings


def check_values(config: Config, names: Collection[str]) -> Iterator[str]:
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
            yield f"{key}: no training sentence has a slot '{slot}'{hint}"
        elif slot not in names and re.search(r"[][()\s]", slot):
            yield f"{key}: the slot '{slot}' has a space or a bracket; tags of files cannot have it"


def _find_repairs(split: str, result: ReadResult) -> Iterator[str]:
    tags = result.issues("repaired tag")
    if tags and _is_iob1(result.sentences, tags):
        yield f"{split}: no B- begins a slot, so tags are read as iob1; set data.scheme: iob1"
    elif tags:
        where = _list_some(issue.location for issue in tags)
        yield f"{split}: tags repaired: {len(tags):,}, at {where}"
    retokenized = (issue.message.split(" ") for issue in result.issues("retokenized"))
    if tokens := Counter(chain.from_iterable(retokenized)):
        examples = _list_some(repr(token) for token, _ in tokens.most_common())
        yield (
            f"{split}: tokens of the file split further, as in prediction: {tokens.total():,}, as"
            f" {examples}; data.tokenizer: given keeps the tokens of the files"
        )
    for kind, title in _REPAIRED_SLOTS.items():
        if slots := result.issues(kind):
            examples = _list_some(f"{issue.location}: {issue.message}" for issue in slots)
            yield f"{split}: {title}: {len(slots):,}, at {examples}"
    for issue in result.issues("no empty line"):
        yield f"{issue.location}: {issue.message}; put an empty line after each sentence"


def _is_iob1(sentences: Iterable[Sentence], repaired: Sequence[Issue]) -> bool:
    """Return whether each slot that does not follow one of its own name begins with I-.

    Its first tag was then repaired, if the scheme is another one; the slots are those of IOB1.
    """
    if not all(re.match(r"I-\S+ .* read as B-", issue.message) for issue in repaired):
        return False
    starts = 0
    for sentence in sentences:
        before = Slot("", 0, 0)
        for slot in sentence.slots or ():
            starts += (before.name, before.end) != (slot.name, slot.start)
            before = slot
    return starts == len(repaired)


def _find_affixes(tokenizer: Tokenizer) -> Iterator[str]:
    def describe(side: str) -> str:
        return side[1:] if side.startswith("=") else f"({side})"

    affixes = [f"{form}|{describe(side)}" for side, form in sorted(tokenizer.prefixes)]
    affixes += [f"{describe(side)}|{form}" for side, form in sorted(tokenizer.suffixes)]
    if affixes:
        yield (
            "train: slots begin or end inside tokens, so tokens are split at"
            f" {_list_some(affixes)}; correct the slots if that is not intended"
        )


def _find_duplicates(split: str, sentences: list[Sentence]) -> Iterator[str]:
    """Yield findings on texts that occur twice, and on those that are labelled in two ways."""
    by_text: dict[str, list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        by_text[sentence.text].append(sentence)
    repeated = len(sentences) - len(by_text)
    if repeated > _USUAL_REPETITION * len(sentences):
        yield f"{split}: {repeated:,} of {len(sentences):,} sentences repeat another one"
    conflicts = []
    for first, *others in by_text.values():
        differing = (s for s in others if (s.slots, s.intent) != (first.slots, first.intent))
        if (other := next(differing, None)) is not None:
            conflicts.append(f"{first.location} and {other.location}")
    if conflicts:
        yield f"{split}: the same text has different labels at {_list_some(conflicts)}"


def _find_shared_sentences(splits: Mapping[str, ReadResult]) -> Iterator[str]:
    train = {sentence.text for sentence in splits["train"].sentences} if "train" in splits else ()
    for split, result in splits.items():
        shared = [sentence for sentence in result.sentences if sentence.text in train]
        if shared and split != "train":
            count = f"{len(shared):,} of {len(result.sentences):,} sentences"
            yield f"{split}: {count} are also in train, the first at {shared[0].location}"


def _find_similar_names(splits: Mapping[str, ReadResult]) -> Iterator[str]:
    """Yield a finding for slot names that differ in case, or in one character and are rare."""
    counts = Counter[str]()
    locations: dict[str, str] = {}
    for sentence in chain.from_iterable(result.sentences for result in splits.values()):
        for slot in sentence.slots or ():
            counts[slot.name] += 1
            locations.setdefault(slot.name, sentence.location)
    names = [name for name, _ in counts.most_common()]
    for rank, rare in enumerate(names):
        for frequent in names[:rank]:
            same = rare.casefold() == frequent.casefold()
            if same or (10 * counts[rare] <= counts[frequent] and _is_misspelling(rare, frequent)):
                yield (
                    f"{locations[rare]}: slot '{rare}' ({counts[rare]:,}) is almost named like"
                    f" '{frequent}' ({counts[frequent]:,}); rename it if they are the same"
                )
                break


def _is_misspelling(name: str, other: str) -> bool:
    """Return whether two names differ in one character, or two swapped ones, other than digits."""
    if abs(len(name) - len(other)) > 1 or re.sub(r"\d", "", name) == re.sub(r"\d", "", other):
        return False
    return not _drop_a_character(name).isdisjoint(_drop_a_character(other))


def _drop_a_character(name: str) -> set[str]:
    """Return `name`, and it without each of its characters."""
    return {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}


def _compare_names(
    splits: Mapping[str, Sequence[Sentence]], split: str, kind: str
) -> Iterator[str]:
    """Yield the names of slots or intents that only train or only `split` has.

    A name that `split` lacks is a problem where `split` has other names instead, or where at least
    five sentences with it were to be expected there.
    """
    in_train, in_split = (
        _count_names(splits["train"], kind),
        _count_names(splits.get(split, ()), kind),
    )
    if not in_split:
        return
    if unknown := in_split.keys() - in_train.keys():
        names = _list_names(unknown, in_train, "train")
        yield f"{split}: {kind} names that train does not have and the model cannot learn: {names}"
    share = len(splits[split]) / len(splits["train"])
    missing = in_train.keys() - in_split.keys()
    if missing := {name for name in missing if unknown or in_train[name] * share >= 5}:
        names = _list_names(missing, in_split, split)
        yield f"train: {kind} names that {split} does not have: {names}"


def _count_names(sentences: Sequence[Sentence], kind: str) -> Counter[str]:
    """Return in how many sentences each name of a slot, or of an intent, occurs."""
    labels = chain.from_iterable(sentence.labels for sentence in sentences)
    return Counter(name for label, name in labels if label == kind)


def _list_names(names: Iterable[str], others: Iterable[str], split: str) -> str:
    """List some of `names`, each with the nearest of the names that another split has."""
    folded = {name.casefold(): name for name in others}
    listed = []
    for name in sorted(names):
        near = get_close_matches(name.casefold(), folded, n=1)
        listed.append(f"'{name}'" + "".join(f" (nearest in {split}: '{folded[n]}')" for n in near))
    return _list_some(listed)


def _list_some(items: Iterable[str]) -> str:
    """Return the first few of `items` with commas."""
    listed = list(items)
    more = f" and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
    return ", ".join(listed[:_MAX_LISTED]) + more
