"""Findings: likely problems in data that can be read, which `slotfill check` prints."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from slotfill.data.corpus import ReadResult
from slotfill.data.sentence import Sentence

_MAX_LISTED = 5
_USUAL_REPETITION = 0.1
"""The share of sentences that repeat another one in corpora of user utterances."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One likely problem in data that can be read nevertheless."""

    location: str
    """`file:line`, a split or a config key; empty if it concerns everything."""
    message: str
    """The problem, without its location."""
    hint: str = ""
    """How to fix it, if that is known."""

    def __str__(self) -> str:
        location = f"{self.location}: " if self.location else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{location}{self.message}{hint}"


def find_problems(splits: Mapping[str, ReadResult]) -> list[Finding]:
    """Return the likely problems of the sentences of each split, by name."""
    findings: list[Finding] = []
    for split, result in splits.items():
        findings += _find_repairs(split, result)
        findings += _find_duplicates(split, result.sentences)
    if splits:
        findings += _find_affixes(next(iter(splits.values())))
    findings += _find_shared_sentences(splits)
    findings += _find_similar_names(splits)
    return findings


def _find_repairs(split: str, result: ReadResult) -> Iterator[Finding]:
    if tags := result.issues("repaired tag"):
        where = _list_some(issue.location for issue in tags)
        yield Finding(split, f"tags repaired: {len(tags):,}, at {where}")
    if sentences := result.issues("retokenized"):
        tokens = Counter(token for issue in sentences for token in issue.message.split(" "))
        examples = _list_some(repr(token) for token, _ in tokens.most_common(_MAX_LISTED + 1))
        count = f"{tokens.total():,}"
        yield Finding(
            split,
            f"tokens of the file split further, as in prediction: {count}, as {examples}",
            "data.tokenizer: given keeps the tokens of the files",
        )
    for kind, verb in (("widen", "widened"), ("skip", "skipped")):
        if slots := result.issues(kind):
            examples = _list_some(f"{issue.location}: {issue.message}" for issue in slots)
            yield Finding(split, f"misaligned slots {verb}: {len(slots):,}, at {examples}")
    for issue in result.issues("no empty line"):
        yield Finding(issue.location, issue.message, "put an empty line after each sentence")


def _find_affixes(result: ReadResult) -> Iterator[Finding]:
    tokenizer = result.tokenizer
    affixes = [f"{form}|{_describe_side(side)}" for side, form in sorted(tokenizer.prefixes)]
    affixes += [f"{_describe_side(side)}|{form}" for side, form in sorted(tokenizer.suffixes)]
    if affixes:
        yield Finding(
            "train",
            f"slots begin or end inside tokens, so tokens are split at {_list_some(affixes)}",
            "correct the slots if that is not intended",
        )


def _describe_side(side: str) -> str:
    return side[1:] if side.startswith("=") else f"({side})"


def _find_duplicates(split: str, sentences: list[Sentence]) -> Iterator[Finding]:
    """Yield findings on texts that occur twice, and on those that are labelled in two ways."""
    by_text: dict[str, list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        by_text[sentence.text].append(sentence)
    repeated = len(sentences) - len(by_text)
    if repeated > _USUAL_REPETITION * len(sentences):
        yield Finding(split, f"{repeated:,} of {len(sentences):,} sentences repeat another one")
    conflicts = []
    for first, *others in by_text.values():
        for other in others:
            if (other.slots, other.intent) != (first.slots, first.intent):
                conflicts.append(f"{first.location} and {other.location}")
                break
    if conflicts:
        yield Finding(split, f"the same text has different labels at {_list_some(conflicts)}")


def _find_shared_sentences(splits: Mapping[str, ReadResult]) -> Iterator[Finding]:
    if "train" not in splits:
        return
    train = {sentence.text for sentence in splits["train"].sentences}
    for split, result in splits.items():
        shared = [sentence for sentence in result.sentences if sentence.text in train]
        if shared and split != "train":
            count = f"{len(shared):,} of {len(result.sentences):,} sentences"
            yield Finding(split, f"{count} are also in train, the first at {shared[0].location}")


def _find_similar_names(splits: Mapping[str, ReadResult]) -> Iterator[Finding]:
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
                yield Finding(
                    locations[rare],
                    f"slot '{rare}' ({counts[rare]:,}) is almost named like '{frequent}'"
                    f" ({counts[frequent]:,})",
                    "rename it if they are the same",
                )
                break


def _is_misspelling(name: str, other: str) -> bool:
    """Return whether two names differ in one character, or two swapped ones, other than digits."""
    if abs(len(name) - len(other)) > 1 or re.sub(r"\d", "", name) == re.sub(r"\d", "", other):
        return False
    first, second = (
        {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))} for word in (name, other)
    )
    return not first.isdisjoint(second)


def _list_some(items: Iterable[str]) -> str:
    """Return the first few of `items` with commas."""
    listed = list(items)
    more = ", ..." if len(listed) > _MAX_LISTED else ""
    return ", ".join(listed[:_MAX_LISTED]) + more
