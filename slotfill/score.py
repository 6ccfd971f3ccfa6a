"""Scores of predicted slots against gold ones, as seqeval counts them.

seqeval's default mode over IOB2 tags: a slot is right when its name, first and last token are.
Source: Nakayama 2018, seqeval; the count itself: Tjong Kim Sang & De Meulder 2003 (conlleval)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from slotfill.schemes import tags_of
from slotfill.sentence import Sentence, Slot

MODE = "seqeval default mode, micro average over whole slots"


@dataclass(frozen=True, slots=True)
class SlotScore:
    """Precision, recall and F1 in percent, and how many slots are gold."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(slots=True)
class Score:
    """What a model did on labelled sentences; all rates in percent.

    `f1_interval`: the 95 % bootstrap interval of F1 over sentences. `tag_accuracy`: share of tokens whose IOB2
    tag is right. `sentence_accuracy`: share of sentences all of whose slots are right, and no others found.
    `unknown_words`: tokens never seen in training. `unknown_slots`: gold slots whose name the model has never
    seen, each of them a miss.
    """

    overall: SlotScore
    f1_interval: tuple[float, float]
    tag_accuracy: float
    sentence_accuracy: float
    slots: dict[str, SlotScore]
    sentences: int
    tokens: int
    unknown_words: int = 0
    unknown_slots: int = 0
    unknown_names: list[str] = field(default_factory=list)
    mode: str = MODE

    def to_json(self) -> dict[str, Any]:
        """Return the score as what JSON can hold."""
        return asdict(self)


def slot_f1(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> float:
    """Return the F1 of `predicted` slots in percent, as `score` counts it, and nothing else."""
    counts = slot_counts(gold, predicted).sum(axis=0)
    return float(f1_of(counts))


def score(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> Score:
    """Return the whole score of the `predicted` slots of `gold` sentences."""
    from seqeval.metrics import classification_report

    gold_tags = [tags_of(sentence.slots or [], len(sentence.tokens), "iob2") for sentence in gold]
    found_tags = [tags_of(slots, len(sentence.tokens), "iob2") for sentence, slots in zip(gold, predicted, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(gold_tags, found_tags, output_dict=True, zero_division=0)
    rows = {
        name: SlotScore(
            100 * float(row["precision"]),
            100 * float(row["recall"]),
            100 * float(row["f1-score"]),
            int(row["support"]),
        )
        for name, row in report.items()
    }
    for average in ("macro avg", "weighted avg"):
        rows.pop(average, None)
    overall = rows.pop("micro avg", SlotScore(0.0, 0.0, 0.0, 0))
    tokens = sum(map(len, gold_tags))
    right = sum(a == b for one, two in zip(gold_tags, found_tags, strict=True) for a, b in zip(one, two, strict=True))
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


def slot_counts(gold: Sequence[Sentence], predicted: Sequence[Sequence[Slot]]) -> np.ndarray:
    """Return `(sentence, 3)`: slots that are right, predicted, and gold."""
    rows = [
        (len(set(sentence.slots or ()).intersection(slots)), len(slots), len(sentence.slots or ()))
        for sentence, slots in zip(gold, predicted, strict=True)
    ]
    return np.array(rows, np.int64).reshape(-1, 3)


def f1_of(counts: np.ndarray) -> np.ndarray:
    """Return F1 in percent of `(..., 3)` counts."""
    right, found, gold = np.moveaxis(counts, -1, 0)
    return 200 * right / np.maximum(found + gold, 1)


def _interval(counts: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """Return the 95 % interval of F1 when as many sentences are drawn anew, with replacement (Efron 1979)."""
    random = np.random.default_rng(0)
    f1s = [f1_of(counts[random.integers(0, len(counts), len(counts))].sum(axis=0)) for _ in range(draws)]
    low, high = np.percentile(f1s, [2.5, 97.5])
    return float(low), float(high)
