"""Workers: shares of a batch give the batch's gradient, the same by processes and one after
another, in every run.
"""

from __future__ import annotations

import os
import signal
import sys

import pytest
import torch
from test_train import SENTENCES, run, same, told, training_of, weights

import slotfill.training.data_parallel
from slotfill.errors import RunError
from slotfill.model.tagger import SlotTagger

# Without any noise, so that how the sentences are shared out cannot matter.
QUIET = [
    "embedding=[{name: word, size: 8, unknown_rate: 0.0}]",
    "encoder.dropout=0.0",
    "tagger.dropout=0.0",
]
FORKS = pytest.mark.skipif(sys.platform != "linux", reason="needs fork")


def gradient(*overrides):
    training = training_of(*overrides)
    training.model.train()
    training.workers.begin(1, 1)
    share = next(training.batches(1))
    found, loss, extra = training.workers.gradient(share)
    return training, found.clone(), float(loss), float(extra)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("cell", ["lstm", "variational"])
def test_shares_give_the_gradient_of_the_whole(count, cell):
    quiet = [*QUIET, f"encoder.cell={cell}"]
    if cell == "variational":
        quiet = [*quiet, "train.batch_size=1"]
    _, wanted, loss, extra = gradient(*quiet)
    training, found, shared_loss, shared_extra = gradient(*quiet, f"train.processes={count}")
    assert len(training.workers.found) == count
    if cell == "lstm":
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
    assert shared_loss == pytest.approx(loss, rel=1e-5) and shared_extra == pytest.approx(
        extra, rel=1e-5
    )


def test_a_share_of_nothing():
    """More workers than sentences, as in an epoch's last batch."""
    quiet = [*QUIET, "train.batch_size=3"]
    one, two = (run(training_of(*quiet, f"train.processes={count}"), epochs=1) for count in (1, 2))
    assert one.history[0].loss == pytest.approx(two.history[0].loss, rel=1e-4)
    many = run(training_of(*quiet, "train.processes=4"), epochs=1)
    assert many.history[0].loss == pytest.approx(one.history[0].loss, rel=1e-4)


def test_every_sentence_is_in_one_share():
    training = training_of("train.processes=3", "train.batch_size=7")
    shares = [list(training.batches(1, place)) for place in range(3)]
    assert sum(len(share.batch.lengths) for each in shares for share in each if share.batch) == len(
        SENTENCES
    )
    assert [share.sentences for share in shares[0]] == [share.sentences for share in shares[2]]
    assert sum(share.sentences for share in shares[0]) == len(SENTENCES)
    assert sum(share.tokens for share in shares[1]) == sum(len(s.tokens) for s in SENTENCES)


@FORKS
def test_processes_and_taking_turns_are_the_same(monkeypatch):
    """To the bit, with all noise."""
    wanted = run(training_of("train.processes=2", "train.epochs=2"))
    assert wanted.workers.children
    monkeypatch.setattr(slotfill.training.data_parallel.sys, "platform", "elsewhere")
    found = run(training_of("train.processes=2", "train.epochs=2"))
    assert not found.workers.children
    assert same(weights(found.model), weights(wanted.model)) and told(found) == told(wanted)


def test_the_seed_decides():
    one, two, other = (
        run(training_of("train.processes=2", f"train.seed={seed}"), epochs=2) for seed in (3, 3, 4)
    )
    assert same(weights(one.model), weights(two.model)) and told(one) == told(two)
    assert not same(weights(one.model), weights(other.model))


def test_going_on_from_a_checkpoint_changes_nothing():
    wanted = run(training_of("train.processes=2"))
    state = run(training_of("train.processes=2"), epochs=2).state()
    again = training_of("train.processes=2")
    torch.rand(7)
    again.restore(*state)
    run(again)
    assert told(again) == told(wanted) and same(weights(again.model), weights(wanted.model))
    assert same(again.best_weights, wanted.best_weights)


@FORKS
def test_a_fault_in_a_child_is_told(monkeypatch):
    right, parent = SlotTagger.loss, os.getpid()

    def wrong(self, batch):
        if os.getpid() != parent:
            raise MemoryError("none left")
        return right(self, batch)

    monkeypatch.setattr(SlotTagger, "loss", wrong)
    with pytest.raises(
        RunError, match="a process that helped in training has failed: MemoryError: none left"
    ):
        run(training_of("train.processes=2"))


@FORKS
def test_a_child_that_is_killed_is_told():
    training = training_of("train.processes=2")
    before = set(slotfill.training.data_parallel.multiprocessing.active_children())
    training.workers.begin(1, 1)
    (child,) = set(slotfill.training.data_parallel.multiprocessing.active_children()) - before
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(RunError, match="has failed"):
        for share in training.batches(1):
            training.step(share)


@FORKS
def test_children_end_with_their_training():
    before = set(slotfill.training.data_parallel.multiprocessing.active_children())
    training = run(training_of("train.processes=3"), epochs=1)
    children = set(slotfill.training.data_parallel.multiprocessing.active_children()) - before
    assert len(children) == 2
    training.workers.close()
    for child in children:
        child.join(10)
        assert child.exitcode is not None


def test_bfloat16_learns():
    """Its products are coarse; the weights, their averages and the loss are not."""
    training = run(
        training_of(
            "train.precision=bfloat16", "train.epochs=30", "train.ema_decay=0.8", "train.patience=0"
        )
    )
    exact = run(training_of("train.epochs=30", "train.ema_decay=0.8", "train.patience=0"))
    assert (
        training.history[-1].loss < 0.4 * training.history[0].loss and training.best.valid_f1 > 90
    )
    assert {value.dtype for value in training.best_weights.values()} == {torch.float32}
    assert told(training) != told(exact)
    assert training.history[0].loss == pytest.approx(exact.history[0].loss, rel=0.05)
