"""Which epoch's weights a run keeps, and when training stops early."""

from __future__ import annotations

import pytest

from slotfill.data.sentence import Sentence, Slot
from slotfill.training.selection import MIN_VALID_LABELS, EpochSelector


def sentences(number: int, slots: int = 1) -> list[Sentence]:
    """Return sentences of `slots` slots each, with an intent."""
    tokens = ["to", *["Rome"] * slots]
    spans = [Slot("city", start, start + 1) for start in range(1, slots + 1)]
    return [Sentence.from_tokens(tokens, spans, "flight")] * number


def selected_epoch(selector: EpochSelector, f1s: list[float]) -> tuple[int, int]:
    """Return the epoch that is kept of those with `f1s`, and the one after which training stops."""
    best = 0
    for epoch, f1 in enumerate(f1s, 1):
        if selector.is_better((f1,), (f1s[best - 1],) if best else None):
            best = epoch
        if selector.should_stop(epoch - best):
            return best, epoch
    return best, len(f1s)


@pytest.mark.parametrize(
    ("labels", "kept", "stopped"),
    [(0, 6, 6), (MIN_VALID_LABELS - 1, 6, 6), (MIN_VALID_LABELS, 2, 5)],
)
def test_last_epoch_is_kept_where_valid_has_few_slots(labels, kept, stopped):
    selector = EpochSelector.from_valid(3, sentences(labels), intents=False)
    assert selected_epoch(selector, [80, 100, 100, 90, 95, 99]) == (kept, stopped)


def test_learned_intents_are_labels_that_rank_epochs():
    valid = sentences(MIN_VALID_LABELS, slots=0)
    assert not EpochSelector.from_valid(3, valid, intents=False).valid_ranks_epochs
    assert EpochSelector.from_valid(3, valid, intents=True).valid_ranks_epochs


def test_patience_of_zero_never_stops():
    assert selected_epoch(EpochSelector(0, True), [9, 1, 1, 1, 1, 1]) == (1, 6)
