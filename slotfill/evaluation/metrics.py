"""Scores of predicted slots against gold ones, as seqeval counts them, and of intents.

seqeval's default mode over IOB2 tags: a slot is right when its name, first and last token are. The
intents of a sentence are right when they are the gold ones, all of them and no others, whatever
their order.

Source: Nakayama 2018, seqeval; the count itself: Tjong Kim Sang & De Meulder 2003 (conlleval)
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, Slot, intent_names

MODE = "seqeval default mode, micro average over whole slots"
INTENT_MODE = (
    "right where all of the sentence's are found and no others, a whole frame where its slots"
    " are too"
)


@dataclass(frozen=True, slots=True)
class PRFScore:
    """Precision, recall and F1 in percent, and how many slots, or intents, are gold."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(slots=True)
class IntentResult:
    """What a model did on the intents of labelled sentences; all rates in percent.

    `accuracy`: share of sentences whose intents are right. `frame_accuracy`: those whose slots are
    all right as well. `overall` is over all `intents`, each by itself. `unknown_intents`: gold ones
    that the model has never seen.
    """

    accuracy: float
    frame_accuracy: float
    overall: PRFScore
    intents: dict[str, PRFScore]
    unknown_intents: int = 0
    unknown_names: list[str] = field(default_factory=list)
    mode: str = INTENT_MODE


@dataclass(slots=True)
class Score:
    """What a model did on labelled sentences; all rates in percent.

    `f1_interval`: the 95 % bootstrap interval of F1 over sentences. `tag_accuracy`: share of tokens
    whose IOB2 tag is right. `sentence_accuracy`: share of sentences all of whose slots are right,
    and no others found.
    `unknown_words`: tokens never seen in training. `unknown_slots`: gold slots whose name the model
    has never seen, each of them a miss. `intent`: the score of intents, None where they are not
    learned or not labelled.
    """

    overall: PRFScore
    f1_interval: tuple[float, float]
    tag_accuracy: float
    sentence_accuracy: float
    slots: dict[str, PRFScore]
    sentences: int
    tokens: int
    unknown_words: int = 0
    unknown_slots: int = 0
    unknown_names: list[str] = field(default_factory=list)
    mode: str = MODE
    intent: IntentResult | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the score as what JSON can hold, without `intent` where there is none."""
        found = asdict(self)
        if self.intent is None:
            del found["intent"]
        return found


def slot_f1(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> float:
    """Return the F1 of `predicted` slots in percent, as `score` counts it, and nothing else."""
    counts = slot_counts(gold, predicted).sum(axis=0)
    return float(compute_f1(counts))


def score(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> Score:
    """Return the whole score of the `predicted` slots of `gold` sentences."""
    from seqeval.metrics import classification_report

    gold_tags = [
        slots_to_tags(sentence.slots or [], len(sentence.tokens), "iob2") for sentence in gold
    ]
    found_tags = [
        slots_to_tags(slots, len(sentence.tokens), "iob2")
        for sentence, slots in zip(gold, predicted, strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(gold_tags, found_tags, output_dict=True, zero_division=0)
    rows = {
        name: PRFScore(
            100 * float(row["precision"]),
            100 * float(row["recall"]),
            100 * float(row["f1-score"]),
            int(row["support"]),
        )
        for name, row in report.items()
    }
    for average in ("macro avg", "weighted avg"):
        rows.pop(average, None)
    overall = rows.pop("micro avg", PRFScore(0.0, 0.0, 0.0, 0))
    tokens = sum(map(len, gold_tags))
    right = sum(
        a == b
        for one, two in zip(gold_tags, found_tags, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    whole = sum(one == two for one, two in zip(gold_tags, found_tags, strict=True))
    return Score(
        overall,
        _interval(slot_counts(gold, predicted)),
        100 * right / max(tokens, 1),
        100 * whole / max(len(gold), 1),
        rows,
        len(gold),
        tokens,
    )


def score_intents(
    gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]], intents: Sequence[str | None]
) -> IntentResult:
    """Return the score of the predicted `intents` of `gold` sentences, whole frames with the
    `predicted` slots.
    """
    pairs = _pairs(gold, intents)
    wanted = Counter(name for one, _ in pairs for name in one)
    found = Counter(name for _, other in pairs for name in other)
    right = Counter(name for one, other in pairs for name in one & other)
    whole = [
        one == other and set(sentence.slots or ()) == set(slots)
        for (one, other), sentence, slots in zip(pairs, gold, predicted, strict=True)
    ]
    return IntentResult(
        intent_accuracy(gold, intents),
        100 * sum(whole) / max(len(gold), 1),
        _rates(right.total(), found.total(), wanted.total()),
        {name: _rates(right[name], found[name], wanted[name]) for name in sorted(found | wanted)},
    )


def intent_accuracy(gold: Sequence[Sentence], intents: Sequence[str | None]) -> float:
    """Return the share of sentences whose predicted `intents` are right, in percent, and nothing
    else.
    """
    return 100 * sum(one == other for one, other in _pairs(gold, intents)) / max(len(gold), 1)


def _pairs(
    gold: Sequence[Sentence], intents: Sequence[str | None]
) -> list[tuple[set[str], set[str]]]:
    """Return the gold and the predicted intents of each sentence."""
    return [
        (set(intent_names(sentence.intent)), set(intent_names(intent)))
        for sentence, intent in zip(gold, intents, strict=True)
    ]


def _rates(right: int, found: int, gold: int) -> PRFScore:
    f1 = float(compute_f1(np.array((right, found, gold))))
    return PRFScore(100 * right / max(found, 1), 100 * right / max(gold, 1), f1, gold)


def slot_counts(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> np.ndarray:
    """Return `(sentence, 3)`: slots that are right, predicted, and gold."""
    rows = [
        (len(set(sentence.slots or ()).intersection(slots)), len(slots), len(sentence.slots or ()))
        for sentence, slots in zip(gold, predicted, strict=True)
    ]
    return np.array(rows, np.int64).reshape(-1, 3)


def compute_f1(counts: np.ndarray) -> np.ndarray:
    """Return F1 in percent of `(..., 3)` counts."""
    right, found, gold = np.moveaxis(counts, -1, 0)
    return 200 * right / np.maximum(found + gold, 1)


def _interval(counts: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """Return the 95 % interval of F1 when as many sentences are drawn anew, with replacement (Efron
    1979).
    """
    random = np.random.default_rng(0)
    f1s = [
        compute_f1(counts[random.integers(0, len(counts), len(counts))].sum(axis=0))
        for _ in range(draws)
    ]
    low, high = np.percentile(f1s, [2.5, 97.5])
    return float(low), float(high)
