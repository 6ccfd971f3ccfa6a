"""Findings: likely problems in data that can be read, as `where: problem; hint`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations

from slotfill.data.alignment import describe_misalignment
from slotfill.data.corpus import ReadResult
from slotfill.data.sentence import Issue, Sentence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import format_count

KINDS = {
    "unlabelled": "sentences without labels, which are left out of training and scoring",
    "no-words": "texts without words, which are left out",
    "repaired-tags": "tags that their scheme does not allow",
    "errors": "what cannot be read, at which check and train stop",
    "misaligned": "slots that begin or end inside a token",
    "retokenized": "tokens of the file that prediction would split differently",
    "corrected-offsets": "offsets at which the file's text of the slot is not",
    "overlaps": "slots that overlap a longer one, and are left out",
    "left-out": "what a sentence cannot hold, or does not need, and is left out",
    "one-sentence": "files of tokens without empty lines between sentences",
    "duplicates": "texts that occur twice in a split",
    "shared": "texts that occur in two splits",
    "conflicts": "texts that are labelled in two ways",
    "similar-names": "slot names that are almost the same",
    "rare-names": "slot names with few examples to learn from",
    "names": "names of slots or intents that only one split has",
    "few-labels": "too few labels in valid to select an epoch",
    "limit": "a limit of training sentences that is more than there are",
    "values": "slots of rules, synonyms and resolve that no sentence has",
}
"""The kinds of findings, each with what they are."""

_MAX_LISTED = 5
_USUAL_REPETITION = 0.1
"""The share of sentences that repeat another one in corpora of user utterances."""
_FEW_EXAMPLES = 5
"""Slots of a name in training that are too few to learn it from."""

_REPAIRED_SLOTS = {
    "corrected offset": ("corrected-offsets", "offsets corrected"),
    "left out": ("left-out", "left out"),
    "widen": ("misaligned", "misaligned slots widened"),
    "skip": ("misaligned", "misaligned slots skipped"),
}
"""The kind and the title of the findings on the issues of each kind."""


@dataclass(frozen=True)
class Finding:
    """A likely problem of the data."""

    kind: str
    """One of `KINDS`."""
    message: str
    """The problem in one line, with the first places."""
    places: list[str] = field(default_factory=list)
    """Each place where it is, as `file:line: what is there`."""
    is_usual: bool = False
    """Whether most corpora have it, so that it is no reason for a warning."""
    is_error: bool = False
    """Whether check and train stop at it."""

    def __str__(self) -> str:
        return self.message


def find_problems(splits: Mapping[str, ReadResult]) -> list[Finding]:
    """Return the likely problems of the sentences of each split, by name."""
    findings: list[Finding] = []
    findings += find_left_out(splits)
    for split, result in splits.items():
        if result.problems:
            findings.append(_find_errors(split, result.problems))
        findings += _find_repairs(split, result)
        findings += _find_duplicates(split, result.sentences)
    for split, result in list(splits.items())[:1]:
        findings += _find_affixes(split, result)
        findings += _find_rare_names(split, result.sentences)
    findings += _find_conflicts(splits)
    findings += _find_shared_sentences(splits)
    findings += _find_similar_names(splits)
    return findings


def _find_errors(split: str, problems: Sequence[str]) -> Finding:
    """Return the finding on what of a split cannot be read, a line each."""
    problems = sort_by_place(problems)
    count = format_count(len(problems), "error")
    where = list_some(dict.fromkeys(problem.partition(": ")[0] for problem in problems))
    message = f"{split}: {count}, at which check and train stop, at {where}"
    return Finding("errors", message, problems, is_error=True)


def sort_by_place(problems: Iterable[str]) -> list[str]:
    """Return messages in the order of the places that they begin with."""
    return sorted(problems, key=_place)


def _place(problem: str) -> tuple[str, int, int]:
    """Return the file, the line and the number of the sentence that a message begins with."""
    match = re.match(r"(.*?):(?:row )?(\d+)\b(?: \(sentence (\d+)\))?", problem)
    return (match[1], int(match[2]), int(match[3] or 0)) if match else (problem, 0, 0)


def find_left_out(splits: Mapping[str, ReadResult]) -> Iterator[Finding]:
    """Yield a finding for the sentences and slots of each split that nothing is learned from."""
    for split, result in splits.items():
        left_out = result.issues("unlabelled", "no words", "overlap")
        for kind, noun, more in (
            ("unlabelled", "unlabelled sentence", ""),
            ("no words", "text", " without words"),
        ):
            if issues := [issue for issue in left_out if issue.kind == kind]:
                what = f"{format_count(len(issues), noun)}{more}"
                verb = "is" if len(issues) == 1 else "are"
                where = list_some(issue.location for issue in issues)
                message = f"{split}: {what} {verb} left out, at {where}"
                yield Finding(kind.replace(" ", "-"), message, _list_places(issues))
        if overlaps := [issue for issue in left_out if issue.kind == "overlap"]:
            message = f"{split}: {describe_overlaps(overlaps)}"
            yield Finding("overlaps", message, _list_places(overlaps))


def _find_repairs(split: str, result: ReadResult) -> Iterator[Finding]:
    tags = result.issues("repaired tag")
    if tags and _is_iob1(result.sentences, tags):
        message = "no B- begins a slot, so tags are read as iob1; set data.scheme: iob1"
        yield Finding("repaired-tags", f"{split}: {message}", _list_places(tags))
    elif tags:
        where = list_some(issue.location for issue in tags)
        message = f"{split}: tags repaired: {len(tags):,}, at {where}"
        yield Finding("repaired-tags", message, _list_places(tags))
    retokenized = result.issues("retokenized")
    if retokenized:
        tokens = Counter(chain.from_iterable(issue.message.split(" ") for issue in retokenized))
        examples = list_some(repr(token) for token, _ in tokens.most_common())
        message = (
            f"{split}: tokens of the file split further, as in prediction: {tokens.total():,}, as"
            f" {examples}; data.tokenizer: given keeps the tokens of the files"
        )
        yield Finding("retokenized", message, _list_places(retokenized))
    for issue_kind, (kind, title) in _REPAIRED_SLOTS.items():
        if places := _list_places(result.issues(issue_kind)):
            message = f"{split}: {title}: {len(places):,}, at {list_some(places)}"
            yield Finding(kind, message, places)
    if places := _list_places(result.issues("misaligned")):
        message = (
            f"{split}: misaligned slots, at which check and train stop: {len(places):,}, at"
            f" {list_some(issue.location for issue in result.issues('misaligned'))}"
        )
        yield Finding("misaligned", message, places, is_error=True)
    if unread := list(
        dict.fromkeys(issue.message for issue in result.issues("not read") + result.issues("extra"))
    ):
        more = f" and {len(unread) - _MAX_LISTED} more" if unread[_MAX_LISTED:] else ""
        message = f"{split}: {'; '.join(unread[:_MAX_LISTED])}{more}"
        yield Finding("left-out", message, is_usual=True)
    for issue in result.issues("no empty line"):
        message = f"{issue.message}; put an empty line after each sentence"
        yield Finding("one-sentence", f"{issue.location}: {message}")


def describe_overlaps(issues: Sequence[Issue]) -> str:
    """Return how many slots are left out because they overlap, and where; empty for none."""
    places = list_some(_list_places(issues))
    return f"overlapping slots left out: {len(issues):,}, at {places}" if issues else ""


def _list_places(issues: Iterable[Issue]) -> list[str]:
    return [f"{issue.location}: {issue.message}" for issue in issues]


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


def _find_affixes(split: str, result: ReadResult) -> Iterator[Finding]:
    """Yield a finding on the slots for which the tokenizer has learned to split tokens."""

    def describe(side: str) -> str:
        return side[1:] if side.startswith("=") else f"({side})"

    tokenizer = result.tokenizer
    affixes = [f"{form}|{describe(side)}" for side, form in sorted(tokenizer.prefixes)]
    affixes += [f"{describe(side)}|{form}" for side, form in sorted(tokenizer.suffixes)]
    if not affixes:
        return
    message = (
        f"{split}: slots begin or end inside tokens, so tokens are split at"
        f" {list_some(affixes)}; correct the slots if that is not intended"
    )
    plain = Tokenizer(tokenizer.name, tokenizer.normalization)
    places = []
    for sentence in result.sentences:
        tokens = plain.tokenize(sentence.text, sentence.location)
        starts = {start for start, _ in tokens.offsets}
        ends = {end for _, end in tokens.offsets}
        for slot in sentence.slots or ():
            start, end = sentence.span(slot)
            if start not in starts or end not in ends:
                problem, hint = describe_misalignment(tokens, slot.name, start, end, "split")
                places.append(f"{sentence.location}: {problem}; {hint}")
    yield Finding("misaligned", message, places)


def _find_duplicates(split: str, sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield a finding on texts that occur twice."""
    first: dict[str, Sentence] = {}
    places = []
    for sentence in sentences:
        if (other := first.setdefault(sentence.text, sentence)) is not sentence:
            places.append(f"{sentence.location}: {sentence.text!r} is also at {other.location}")
    if places:
        message = f"{split}: {len(places):,} of {len(sentences):,} sentences repeat another one"
        is_usual = len(places) <= _USUAL_REPETITION * len(sentences)
        yield Finding("duplicates", message, places, is_usual)


def _find_conflicts(splits: Mapping[str, ReadResult]) -> Iterator[Finding]:
    """Yield a finding for each split with texts that are labelled otherwise before."""
    first: dict[str, Sentence] = {}
    for split, result in splits.items():
        pairs: dict[str, str] = {}
        places = []
        for sentence in result.sentences:
            other = first.setdefault(sentence.text, sentence)
            if (sentence.slots, sentence.intent) != (other.slots, other.intent):
                pairs.setdefault(sentence.text, f"{other.location} and {sentence.location}")
                labels = f"{_describe_labels(sentence)}, at {other.location}"
                places.append(f"{sentence.location}: {labels} {_describe_labels(other)}")
        if pairs:
            message = f"{split}: the same text has different labels at {list_some(pairs.values())}"
            yield Finding("conflicts", message, places)


def _describe_labels(sentence: Sentence) -> str:
    parts = (f"[{text}]({name})" if name else text for text, name in sentence.split_by_slot())
    intent = f"[]({sentence.intent}) " if sentence.intent else ""
    return repr(intent + "".join(parts))


def _find_shared_sentences(splits: Mapping[str, ReadResult]) -> Iterator[Finding]:
    """Yield a finding for each two splits with texts in common; of train they are a mistake."""
    for split, other in combinations([*splits][::-1], 2):
        if split == "train":
            split, other = other, split
        first = {each.text: each.location for each in reversed(splits[other].sentences)}
        sentences = splits[split].sentences
        shared = [sentence for sentence in sentences if sentence.text in first]
        if shared:
            verb = "is" if len(shared) == 1 else "are"
            count = f"{len(shared):,} of {format_count(len(sentences), 'sentence')} {verb}"
            message = f"{split}: {count} also in {other}, the first at {shared[0].location}"
            places = [f"{s.location}: {s.text!r} is also at {first[s.text]}" for s in shared]
            yield Finding("shared", message, places, is_usual=other != "train")


def _find_rare_names(split: str, sentences: Iterable[Sentence]) -> Iterator[Finding]:
    """Yield a finding on slot names that are too rare to be learned."""
    by_name = _list_slots(sentences)
    rare = {name: by_name[name] for name in sorted(by_name) if len(by_name[name]) < _FEW_EXAMPLES}
    if rare:
        names = list_some(f"'{name}' ({len(slots)})" for name, slots in rare.items())
        message = f"{split}: slot names with fewer than {_FEW_EXAMPLES} examples: {names}"
        yield Finding("rare-names", message, [*chain(*rare.values())], is_usual=True)


_RARE = 3
"""A name that is so many times rarer than another may be that one, misspelt."""

_SHORT_NAME, _LONG_NAME = 4, 100


def _find_similar_names(splits: Mapping[str, ReadResult]) -> Iterator[Finding]:
    """Yield a finding for slot names that differ in case, or in one character and are rare."""
    by_name: dict[str, list[str]] = defaultdict(list)
    counts: dict[str, list[str]] = defaultdict(list)
    for split, result in splits.items():
        where = f"{split} " if len(splits) > 1 else ""
        for name, places in _list_slots(result.sentences).items():
            by_name[name] += places
            counts[name].append(f"{where}{len(places):,}")
    # Two names are compared if they have a form in common.
    by_form: dict[str, list[str]] = defaultdict(list)
    ranks: dict[str, int] = {}
    for rare in sorted(by_name, key=lambda name: -len(by_name[name])):
        few = by_name[rare]
        forms = {rare.casefold(), *_drop_a_character(rare)}
        others = {name for form in forms for name in by_form[form]}
        for frequent in sorted(others, key=ranks.__getitem__):
            many = by_name[frequent]
            same = rare.casefold() == frequent.casefold()
            if same or (_RARE * len(few) <= len(many) and _is_misspelling(rare, frequent)):
                message = (
                    f"slot '{rare}' ({', '.join(counts[rare])}) is almost named like '{frequent}'"
                    f" ({', '.join(counts[frequent])}); rename it if they are the same"
                )
                location = few[0].partition(": slot ")[0]
                yield Finding("similar-names", f"{location}: {message}", few)
                break
        ranks[rare] = len(ranks)
        for form in forms:
            by_form[form].append(rare)


def _list_slots(sentences: Iterable[Sentence]) -> dict[str, list[str]]:
    """Return the places of the slots of each name."""
    places: dict[str, list[str]] = defaultdict(list)
    for sentence in sentences:
        for name, *span in sentence.slots or ():
            value = sentence.value(Slot(name, *span))
            places[name].append(f"{sentence.location}: slot '{name}' ({value!r})")
    return places


def _is_misspelling(name: str, other: str) -> bool:
    """Return whether two names differ in one character, or two swapped ones, other than digits.

    Short names that do, such as `in` and `on`, are rather different words.
    """
    if re.sub(r"\d", "", name) == re.sub(r"\d", "", other):
        return False
    return not _drop_a_character(name).isdisjoint(_drop_a_character(other))


def _drop_a_character(name: str) -> set[str]:
    """Return `name`, and it without each of its characters; none of a short or very long one."""
    if not _SHORT_NAME <= len(name) <= _LONG_NAME:
        return set()
    return {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}


def list_some(items: Iterable[str]) -> str:
    """Return the first few of `items` with commas."""
    listed = list(items)
    more = f" and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
    return ", ".join(listed[:_MAX_LISTED]) + more
