"""Selection of the epoch, and early stopping."""

from __future__ import annotations

import pytest
from test_train import make_trainer, run

import slotfill.training.trainer


@pytest.mark.parametrize(
    ("ranks_epochs", "patience", "f1s", "kept", "stopped"),
    [
        (True, 3, [80, 99, 99, 90, 95, 100], 2, 5),
        (True, 0, [80, 99, 99, 90, 95, 98], 2, 6),
        (False, 3, [80, 100, 100, 90, 95, 99], 6, 6),
        (False, 1, [0, 0, 0], 3, 3),
    ],
)
def test_last_epoch_is_selected_if_valid_is_too_small(
    ranks_epochs, patience, f1s, kept, stopped, monkeypatch
):
    monkeypatch.setattr(slotfill.training.trainer, "ranks_epochs", lambda *_, **__: ranks_epochs)
    scores = iter(f1s)
    trainer = make_trainer(
        f"train.epochs={len(f1s)}",
        f"train.patience={patience}",
        evaluate=lambda *_: {"valid_f1": next(scores)},
    )
    run(trainer)
    assert (trainer.best.epoch, len(trainer.history)) == (kept, stopped)
