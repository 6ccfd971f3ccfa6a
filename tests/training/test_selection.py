"""Selection of the epoch, and early stopping."""

from __future__ import annotations

import pytest

from slotfill.training.selection import EpochSelector


@pytest.mark.parametrize(
    ("ranks_epochs", "patience", "f1s", "kept", "stopped"),
    [
        (True, 3, [80, 99, 99, 90, 95, 100], 2, 5),
        (True, 0, [80, 99, 99, 90, 95, 98], 2, 6),
        (False, 3, [80, 100, 100, 90, 95, 99], 6, 6),
        (False, 1, [0, 0, 0], 3, 3),
    ],
)
def test_last_epoch_is_selected_if_valid_is_too_small(ranks_epochs, patience, f1s, kept, stopped):
    selector = EpochSelector(patience, ranks_epochs)
    best = epoch = 0
    while epoch < len(f1s) and not (epoch and selector.should_stop(epoch - best)):
        epoch += 1
        if selector.is_better((f1s[epoch - 1],), (f1s[best - 1],) if best else None):
            best = epoch
    assert (best, epoch) == (kept, stopped)
