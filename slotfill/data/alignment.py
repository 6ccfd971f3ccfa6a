"""Alignment: from labelled characters to labelled tokens."""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, repeat
from operator import attrgetter, itemgetter
from typing import Any, Literal, TypeVar

from slotfill.data.sentence import Example, Issue, Sentence, Slot, Span
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError, format_count, shorten_text
from slotfill.files import shorten_path

Misaligned = Literal["split", "widen", "skip", "error"]
"""What becomes of slots that begin or end inside a token."""

_MAX_QUOTED = 40
"""Characters of a value or token that a message shows."""


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
    sentence.intent, sentence.issues = example.intent, tuple(example.issues)
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
    issues: list[Issue] = []
    for name, start, end, resolved in spans:
        first, last = starts.get(start), ends.get(end)
        if first is None or last is None:
            problem, hint = describe_misalignment(sentence, name, start, end, misaligned)
            if tokenizer.is_custom:
                hint += f", or correct {shorten_path(tokenizer.name)}, which gives the tokens"
            touched = _find_touched(sentence, start, end)
            if misaligned in ("split", "error") or (misaligned == "widen" and not touched):
                cut.append(Issue("misaligned", sentence.location, f"{problem}; {hint}"))
                issues.append(cut[-1])
                continue
            issues.append(Issue(misaligned, sentence.location, problem))
            if misaligned == "skip":
                continue
            first, last = touched.start, touched.stop
        slots[Slot(name, first, last)] = resolved
    kept, overlaps = _without_overlaps(slots, lambda slot: _quote(sentence, slot))
    issues += (Issue("overlap", sentence.location, each) for each in overlaps)
    sentence.issues += tuple(issues)
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
    kept, overlaps = _without_overlaps(
        spans.values(), lambda span: _quote_text(text, span.start, span.end)
    )
    if overlaps:
        example.spans = kept
        for overlap in overlaps:
            example.add_issue("overlap", overlap)


_Run = TypeVar("_Run", Slot, Span)
_start, _end = attrgetter("start"), attrgetter("end")
_first, _last = itemgetter(0), itemgetter(1)


def _quote_text(text: str, start: int, end: int) -> str:
    """Return `text[start:end]` as messages show it; of a long one, only the beginning is copied."""
    return repr(shorten_text(text[start : min(end, start + _MAX_QUOTED + 1)], _MAX_QUOTED))


def _quote(sentence: Sentence, slot: Slot) -> str:
    return _quote_text(sentence.text, *sentence.span(slot))


def _without_overlaps(
    runs: Iterable[_Run], quote: Callable[[_Run], str]
) -> tuple[list[_Run], list[str]]:
    """Return `runs` in order, without those that overlap a longer or an earlier one.

    The second list says which are left out; `quote` is what they show.
    """
    ordered = sorted(runs, key=_start)
    if all(before.end <= after.start for before, after in pairwise(ordered)):
        return ordered, []

    def priority(run: _Run) -> tuple[int, tuple[Any, ...]]:
        return run.start - run.end, run[:3]

    kept: list[_Run] = []
    overlaps = []
    for run in sorted(ordered, key=priority):
        # None that is kept is shorter, so that at most two overlap: the ones around its start.
        place = bisect(kept, run.start, key=_start)
        around = kept[max(0, place - 1) : place + 1]
        others = [each for each in around if each.start < run.end and run.start < each.end]
        if not others:
            kept.insert(place, run)
            continue
        both = (f"'{each.name}' ({quote(each)})" for each in (run, min(others, key=priority)))
        overlaps.append("slot {} overlaps {}, and is left out".format(*both))
    return kept, overlaps


def _find_touched(sentence: Sentence, start: int, end: int) -> range:
    """Return the tokens that the characters from `start` to `end` touch."""
    offsets = sentence.offsets
    return range(bisect(offsets, start, key=_last), bisect_left(offsets, end, key=_first))


def _find_unknown_tokens(
    sentence: Sentence, unknown: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the tokens that the characters `unknown` touch; none may be in a slot."""
    runs = []
    slots = sentence.slots or []
    for start, end in unknown:
        touched = _find_touched(sentence, start, end)
        if not touched:
            continue
        place = bisect(slots, touched.start, key=_end)
        if place < len(slots) and slots[place].start < touched.stop:
            slot = slots[place]
            raise DataError(
                f"{sentence.location}: slot '{slot.name}' ({_quote(sentence, slot)}) is in a part"
                " whose labels are marked as not known; remove one of them"
            )
        runs.append((touched.start, touched.stop))
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
    text, touched = sentence.text, _find_touched(sentence, start, end)
    problem = f"slot '{name}' ({_quote_text(text, start, end)})"
    for index in (touched.start, touched.stop - 1) if touched else ():
        first, last = sentence.offsets[index]
        if first < start < last or first < end < last:
            others = "split, widen or skip" if misaligned == "error" else "widen or skip"
            hint = f"correct the slot, or set data.misaligned (convert: --misaligned) to {others}"
            return f"{problem} cuts the token {_quote_text(text, first, last)}", hint
    return f"{problem} begins or ends with a space", "leave the space out"
