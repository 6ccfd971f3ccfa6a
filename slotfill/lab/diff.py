"""Differences between two systems on the same sentences: what became better, and what worse.

Positions of slots are counted in visible characters, so that outputs of other tokens compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from slotfill.data.corpus import read_sentences
from slotfill.data.schemes import check_scheme
from slotfill.data.sentence import Sentence, Slot, intent_names
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError, format_count
from slotfill.evaluation.metrics import (
    PRFScore,
    compute_f1,
    intent_accuracy,
    score_slots,
    slot_counts,
)
from slotfill.inference.tagging import Predictions, predict
from slotfill.lab.compare.significance import (
    LEVEL,
    bootstrap_interval,
    paired_randomization_test,
)
from slotfill.runs.evaluate import read_labelled
from slotfill.runs.load import Run

Verdict = Literal["worse", "better", "different"]
VERDICTS: tuple[Verdict, ...] = ("worse", "better", "different")


@dataclass(frozen=True, slots=True)
class Change:
    """A sentence for which the systems A and B predict different slots or intents."""

    gold: Sentence
    """The sentence with its gold slots, in visible characters."""
    a: list[Slot]
    """The slots that A predicts."""
    b: list[Slot]
    intent_a: str | None
    intent_b: str | None
    errors_a: int
    """Slots that A misses or adds, and 1 if its intents are wrong."""
    errors_b: int

    @property
    def verdict(self) -> Verdict:
        """Whether B has more or fewer errors than A, or as many others."""
        if self.errors_a == self.errors_b:
            return "different"
        return "worse" if self.errors_b > self.errors_a else "better"

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON values: slots have character offsets, as in JSON lines."""
        sides = {
            "gold": (self.gold.slots or [], self.gold.intent),
            "a": (self.a, self.intent_a),
            "b": (self.b, self.intent_b),
        }
        result: dict[str, Any] = {
            "change": self.verdict,
            "location": self.gold.location,
            "text": self.gold.text,
        }
        for name, (slots, intent) in sides.items():
            result[name] = {"slots": [self.gold.slot_to_json(slot) for slot in slots]}
            if intent:
                result[name]["intent"] = intent
        return result


@dataclass(frozen=True, slots=True)
class SlotDifference:
    """The scores of a slot name under A and B."""

    a: PRFScore
    b: PRFScore
    fixed: int
    """Gold slots that B predicts and A does not."""
    broken: int
    """Gold slots that A predicts and B does not."""


@dataclass(frozen=True, slots=True)
class Diff:
    """The differences between the systems A and B on labelled sentences; rates in percent."""

    sentences: int
    f1_a: float
    f1_b: float
    difference: float
    """F1 of B less that of A."""
    interval: tuple[float, float]
    """95 % interval of the difference, by a paired bootstrap over sentences."""
    p: float
    """The p-value of the difference, by paired approximate randomization."""
    intents: tuple[float, float] | None
    """The intent accuracy of A and B, if both predict intents and all sentences have one."""
    slots: dict[str, SlotDifference]
    """By slot name, those whose predictions differ."""
    changes: list[Change]
    """The sentences whose predictions differ, the largest changes first."""

    @property
    def is_significant(self) -> bool:
        """Whether the difference in F1 is unlikely to be due to chance."""
        return self.p < LEVEL

    def to_json(self) -> dict[str, Any]:
        """Return the differences as JSON values."""
        verdicts = Counter(change.verdict for change in self.changes)
        return {
            "sentences": self.sentences,
            "f1": {"a": self.f1_a, "b": self.f1_b},
            "difference": self.difference,
            "interval": list(self.interval),
            "p": self.p,
            "intent_accuracy": self.intents and dict(zip("ab", self.intents, strict=True)),
            **{verdict: verdicts[verdict] for verdict in VERDICTS},
            "slots": {
                name: {
                    "support": each.a.support,
                    "f1": {"a": each.a.f1, "b": each.b.f1},
                    "fixed": each.fixed,
                    "broken": each.broken,
                }
                for name, each in self.slots.items()
            },
            "changes": [change.to_json() for change in self.changes],
        }


def diff_runs(a: Run, b: Run, *, split: str | None = None, path: Path | None = None) -> Diff:
    """Return the differences between two runs on a split of their data, or on other sentences.

    Raises DataError if the sentences of the split are not the same for both.
    """
    gold: list[Sentence] = []
    outputs = []
    for run in (a, b):
        sentences = read_labelled(run, split=split, path=path).sentences
        gold = gold or [in_characters(sentence) for sentence in sentences]
        check_same_texts(gold, sentences)
        predicted = predict(run.engine, run.vocab, sentences, run.calibration)
        slots, intents, _ = predicted.above_thresholds(run.calibration)
        pairs = zip(sentences, slots, strict=True)
        outputs.append(Predictions([count_characters(*pair) for pair in pairs], intents))
    return diff_predictions(gold, *outputs)


def diff_files(gold: Path, a: Path, b: Path, *, scheme: str = "iob2") -> Diff:
    """Return the differences between two files of predictions for the sentences of `gold`.

    Raises UsageError if there is no such scheme, and DataError if they do not hold the same texts
    in the same order; spaces may differ.
    """
    check_scheme(scheme)
    sentences, *outputs = (
        read_sentences(
            path,
            scheme=scheme,
            tokenizer=Tokenizer("characters"),
            misaligned="widen",
            labelled=path is not gold,
        ).sentences
        for path in (gold, a, b)
    )
    labelled = [in_characters(each) for each in sentences if each.slots is not None]
    if not labelled:
        raise DataError(f"{gold}: none of its sentences has labels")
    predictions = []
    for output in outputs:
        check_same_texts(sentences, output)
        pairs = zip(sentences, output, strict=True)
        output = [each for own, each in pairs if own.slots is not None]
        slots = [count_characters(sentence, sentence.slots or []) for sentence in output]
        predictions.append(Predictions(slots, [sentence.intent for sentence in output]))
    return diff_predictions(labelled, *predictions)


def diff_predictions(gold: Sequence[Sentence], a: Predictions, b: Predictions) -> Diff:
    """Return the differences between the predictions `a` and `b` for `gold` sentences."""
    counts_a, counts_b = (slot_counts(gold, each.slots)[None] for each in (a, b))
    f1_a, f1_b = (float(compute_f1(each.sum(axis=(0, 1)))) for each in (counts_a, counts_b))
    has_intents = any(a.intents) and any(b.intents) and all(sentence.intent for sentence in gold)
    if not has_intents:
        a, b = (Predictions(each.slots, [None] * len(gold)) for each in (a, b))
    changes, fixed, broken = [], Counter[str](), Counter[str]()
    for sentence, own_a, own_b, intent_a, intent_b in zip(
        gold, a.slots, b.slots, a.intents, b.intents, strict=True
    ):
        own_gold = set(sentence.slots or ())
        fixed.update(slot.name for slot in own_gold.intersection(own_b).difference(own_a))
        broken.update(slot.name for slot in own_gold.intersection(own_a).difference(own_b))
        errors = [
            len(own_gold ^ set(sentence.filter_known(slots)))
            + (has_intents and set(intent_names(intent)) != set(intent_names(sentence.intent)))
            for slots, intent in ((own_a, intent_a), (own_b, intent_b))
        ]
        intents = [
            set(intent_names(each)) if has_intents else None for each in (intent_a, intent_b)
        ]
        if set(own_a) != set(own_b) or intents[0] != intents[1]:
            changes.append(Change(sentence, own_a, own_b, intent_a, intent_b, *errors))
    changes.sort(key=lambda change: -abs(change.errors_a - change.errors_b))
    scores_a, scores_b = (score_slots(gold, each.slots).slots for each in (a, b))
    none = PRFScore(0.0, 0.0, 0.0, 0)
    names = {slot.name for change in changes for slot in set(change.a) ^ set(change.b)}
    return Diff(
        sentences=len(gold),
        f1_a=f1_a,
        f1_b=f1_b,
        difference=f1_b - f1_a,
        interval=bootstrap_interval(counts_b, counts_a),
        p=paired_randomization_test(counts_b, counts_a),
        intents=(intent_accuracy(gold, a.intents), intent_accuracy(gold, b.intents))
        if has_intents
        else None,
        slots={
            name: SlotDifference(
                scores_a.get(name, none), scores_b.get(name, none), fixed[name], broken[name]
            )
            for name in sorted(names)
        },
        changes=changes,
    )


def in_characters(sentence: Sentence) -> Sentence:
    """Return `sentence` with its visible characters as tokens."""
    visible = [index for index, each in enumerate(sentence.text) if not each.isspace()]
    unknown = [Slot("", *part) for part in sentence.unknown]
    return Sentence(
        sentence.text,
        [sentence.text[index] for index in visible],
        [(index, index + 1) for index in visible],
        count_characters(sentence, sentence.slots or []),
        sentence.intent,
        sentence.location,
        unknown=[part[1:] for part in count_characters(sentence, unknown)],
    )


def count_characters(sentence: Sentence, slots: Sequence[Slot]) -> list[Slot]:
    """Return `slots` with positions counted in visible characters instead of tokens."""
    visible = (not character.isspace() for character in sentence.text)
    counts = list(accumulate(visible, initial=0))
    counted = []
    for slot in slots:
        start, end = sentence.span(slot)
        counted.append(Slot(slot.name, counts[start], counts[end]))
    return counted


def check_same_texts(gold: Sequence[Sentence], other: Sequence[Sentence]) -> None:
    """Raise DataError if `other` does not have the texts of `gold`, apart from spaces."""
    for own, sentence in zip(gold, other, strict=False):
        if "".join(own.text.split()) != "".join(sentence.text.split()):
            raise DataError(
                f"{sentence.location}: the text is {sentence.text!r}, but {own.location} has"
                f" {own.text!r}; give the same sentences in the same order"
            )
    if len(gold) != len(other):
        raise DataError(
            f"{other[-1].location}: {format_count(len(other), 'sentence')}, but"
            f" {format_count(len(gold), 'sentence')} up to {gold[-1].location}; give the same"
            " sentences in the same order"
        )
