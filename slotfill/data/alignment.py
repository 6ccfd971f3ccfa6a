"""Alignment: from labelled characters to labelled tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, repeat
from operator import attrgetter
from typing import Any, Literal, TypeVar

from slotfill.data.sentence import Example, Issue, Sentence, Slot, Span
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError, format_count
from slotfill.files import shorten_path

Misaligned = Literal["split", "widen", "skip", "error"]
"""What becomes of slots that begin or end inside a token."""


def align(
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    misaligned: Misaligned,
    keep_tokens: bool,
    problems: list[str] | None = None,
) -> list[Sentence]:
    """Return `examples` as sentences whose slots are runs of tokens.

    A file's own tokens are kept with `keep_tokens` or if the tokenizer is `given`; otherwise they
    are tokenized again, since prediction only has the text.

    A span that is empty or out of the text is a DataError, or its messages are added to `problems`
    and the sentence is left out, as are misaligned spans where `misaligned` allows no other way,
    which are then issues of this kind.
    """
    sentences = []
    cut: list[Issue] = []
    seen: dict[Any, Any] = {}  # Equal tokens and slots are stored once, to save memory.
    for example in examples:
        try:
            sentence = _tokenize(example, tokenizer, keep_tokens)
            sentence.tokens = list(map(seen.setdefault, sentence.tokens, sentence.tokens))
            if example.spans is not None:
                slots = _align_slots(sentence, example.spans, tokenizer, misaligned, cut)
                sentence.slots = [seen.setdefault(slot, slot) for slot in slots]
                if any(slots.values()):
                    sentence.resolved = list(slots.values())
                sentence.unknown = _find_unknown_tokens(sentence, example.unknown)
        except DataError as error:
            if problems is None:
                raise
            problems += error.messages
            continue
        sentences.append(sentence)
    if cut and problems is None:
        more = f" ({len(cut) - 1} more, listed by slotfill data)" if cut[1:] else ""
        raise DataError(f"{cut[0].location}: {cut[0].message}{more}")
    return sentences


def _tokenize(example: Example, tokenizer: Tokenizer, keep_tokens: bool) -> Sentence:
    sentence = tokenizer.tokenize(example.text, example.location)
    sentence.intent, sentence.issues = example.intent, example.issues
    sentence.extra = example.extra
    if example.offsets is None:
        return sentence
    text, tokenized = example.text, set(sentence.offsets)
    changed = [text[start:end] for start, end in example.offsets if (start, end) not in tokenized]
    if keep_tokens or tokenizer.name == "given":
        if changed and not keep_tokens:
            raise DataError(
                f"{example.location}: the token {changed[0]!r} holds white space, where prediction"
                " splits it; set data.tokenizer: words (convert: --tokenizer words)"
            )
        sentence.offsets, sentence.pretokenized = example.offsets, True
        sentence.tokens = [tokenizer.normalize(text[start:end]) for start, end in example.offsets]
    elif changed:
        sentence.issues += (Issue("retokenized", example.location, " ".join(changed)),)
    return sentence


def _align_slots(
    sentence: Sentence,
    spans: Sequence[Span],
    tokenizer: Tokenizer,
    misaligned: Misaligned,
    cut: list[Issue],
) -> dict[Slot, str | None]:
    """Return `spans` as slots, in order, each with what its value stands for.

    Issues on those that are neither widened nor skipped are added to `cut`, too. Of slots that
    overlap after they are widened, the longest is kept.
    """
    if problems := [problem for span in spans if (problem := _find_problem(sentence, span))]:
        raise DataError(*problems)
    starts = {start: index for index, (start, _) in enumerate(sentence.offsets)}
    ends = {end: index + 1 for index, (_, end) in enumerate(sentence.offsets)}
    slots: dict[Slot, str | None] = {}
    for name, start, end, resolved in spans:
        first, last = starts.get(start), ends.get(end)
        if first is None or last is None:
            problem, hint = describe_misalignment(sentence, name, start, end, misaligned)
            if tokenizer.is_custom:
                hint += f", or correct {shorten_path(tokenizer.name)}, which gives the tokens"
            offsets = enumerate(sentence.offsets)
            touched = [index for index, (first, last) in offsets if first < end and last > start]
            if misaligned in ("split", "error") or (misaligned == "widen" and not touched):
                cut.append(Issue("misaligned", sentence.location, f"{problem}; {hint}"))
                sentence.issues += (cut[-1],)
                continue
            sentence.issues += (Issue(misaligned, sentence.location, problem),)
            if misaligned == "skip":
                continue
            first, last = touched[0], touched[-1] + 1
        slots[Slot(name, first, last)] = resolved
    kept, overlaps = _without_overlaps(slots, sentence.value)
    sentence.issues += tuple(Issue("overlap", sentence.location, each) for each in overlaps)
    return {slot: slots[slot] for slot in kept}


def to_example(sentence: Sentence) -> Example:
    """Return a sentence as it was before it was tokenized."""
    slots, meanings = sentence.slots or (), sentence.resolved or repeat(None)
    return Example(
        sentence.text,
        [
            Span(slot.name, *sentence.span(slot), each)
            for slot, each in zip(slots, meanings, strict=False)
        ],
        sentence.intent,
        sentence.location,
        sentence.offsets if sentence.pretokenized else None,
        unknown=[sentence.span(Slot("", *each)) for each in sentence.unknown],
    )


def leave_out_overlaps(example: Example) -> None:
    """Leave out the slots of `example` that overlap a longer or an earlier one.

    That comes before its text is tokenized, as tokens are split at the ends of slots.
    """
    if len(example.spans or ()) < 2 or any(span.start >= span.end for span in example.spans or ()):
        return  # An empty slot is an error.
    spans, text = {span[:3]: span for span in example.spans or ()}, example.text
    kept, overlaps = _without_overlaps(spans.values(), lambda span: text[span.start : span.end])
    if overlaps:
        example.spans = kept
        example.issues += tuple(Issue("overlap", example.location, each) for each in overlaps)


_Run = TypeVar("_Run", Slot, Span)
_start = attrgetter("start")


def _without_overlaps(
    runs: Iterable[_Run], value: Callable[[_Run], str]
) -> tuple[list[_Run], list[str]]:
    """Return `runs` in order, without those that overlap a longer or an earlier one.

    The second list says which are left out; `value` is what they show.
    """
    ordered = sorted(runs, key=_start)
    if all(before.end <= after.start for before, after in pairwise(ordered)):
        return ordered, []

    def priority(run: _Run) -> tuple[int, tuple[Any, ...]]:
        return run.start - run.end, run[:3]

    kept: dict[int, _Run] = {}  # By token, or by character.
    overlaps = []
    for run in sorted(ordered, key=priority):
        inside = range(run.start, run.end)
        others = {kept[place] for place in inside if place in kept}
        if not others:
            kept.update(dict.fromkeys(inside, run))
            continue
        both = (f"'{e.name}' ({value(e)!r})" for e in (run, min(others, key=priority)))
        overlaps.append("slot {} overlaps {}, and is left out".format(*both))
    return sorted(set(kept.values()), key=_start), overlaps


def _find_unknown_tokens(
    sentence: Sentence, unknown: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the tokens that the characters `unknown` touch; none may be in a slot."""
    runs = []
    for start, end in unknown:
        offsets = enumerate(sentence.offsets)
        touched = [index for index, (first, last) in offsets if first < end and last > start]
        if not touched:
            continue
        run = (touched[0], touched[-1] + 1)
        for slot in sentence.slots or ():
            if slot.start < run[1] and run[0] < slot.end:
                raise DataError(
                    f"{sentence.location}: slot '{slot.name}' ({sentence.value(slot)!r}) is in a"
                    " part whose labels are marked as not known; remove one of them"
                )
        runs.append(run)
    return runs


def _find_problem(sentence: Sentence, span: Span) -> str:
    """Return what is wrong if a span has no name, is empty or is out of the text."""
    name, start, end, _ = span
    where = f"from {start} to {end}"
    size = len(sentence.text)
    if not name:
        problem = f"the slot {where} has no name"
    elif start == end:
        problem = f"slot '{name}' {where} is empty"
    elif not 0 <= start < end <= size:
        length = format_count(size, "character")
        problem = f"slot '{name}' {where} is not in the text of {length}, counted from 0"
    else:
        return ""
    return f"{sentence.location}: {problem}"


def describe_misalignment(
    sentence: Sentence, name: str, start: int, end: int, misaligned: Misaligned
) -> tuple[str, str]:
    """Return what is wrong with a span that is no run of tokens, and how to fix it."""
    text = sentence.text
    problem = f"slot '{name}' ({text[start:end]!r})"
    for first, last in sentence.offsets:
        if first < start < last or first < end < last:
            others = "split, widen or skip" if misaligned == "error" else "widen or skip"
            hint = f"correct the slot, or set data.misaligned (convert: --misaligned) to {others}"
            return f"{problem} cuts the token {text[first:last]!r}", hint
    return f"{problem} begins or ends with a space", "leave the space out"
