"""Workers: their shards give the gradient of the batch."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from test_train import SENTENCES, history, make_trainer, run, same, weights

from slotfill.errors import RunError
from slotfill.model.network import Network
from slotfill.training.data_parallel import check_agreement, shard_loss

# Without any noise, so that how the sentences are shared out cannot matter.
QUIET = [
    "embedding=[{name: word, size: 8, unknown_rate: 0.0}]",
    "encoder.dropout=0.0",
    "tagger.dropout=0.0",
]
FORKS = pytest.mark.skipif(sys.platform != "linux", reason="needs fork")


def gradient(*overrides):
    """Return a trainer, and the gradients, loss and KL term of its first batch."""
    trainer = make_trainer(*overrides)
    trainer.model.train()

    def compute():
        trainer.workers.zero_grad()
        shard = next(trainer.batches.shards(1, trainer.workers.rank))
        loss, kl = shard_loss(trainer.model, shard, "float32")
        trainer.workers.share_rows()
        loss.backward()
        return trainer.workers.all_reduce(loss, kl, False)[:2]

    with trainer.workers.running(compute):
        loss, kl = compute()
    gradients = torch.cat([weight.grad.flatten() for weight in trainer.weights])
    return trainer, gradients, float(loss), float(kl)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("cell", ["lstm", "kl_bottleneck"])
def test_shards_give_the_gradient_of_the_batch(count, cell):
    quiet = [*QUIET, f"encoder.cell={cell}"]
    if cell == "kl_bottleneck":
        quiet = [*quiet, "train.batch_size=1"]
    _, expected, loss, kl = gradient(*quiet)
    trainer, actual, shard_sum, kl_sum = gradient(*quiet, f"train.processes={count}")
    assert trainer.workers.count == (count if cell == "lstm" else 1)
    if cell == "lstm":
        torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-4)
    assert shard_sum == pytest.approx(loss, rel=1e-5)
    assert kl_sum == pytest.approx(kl, rel=1e-5)


def test_more_workers_than_sentences():
    """The last batch of an epoch may be small."""
    quiet = [*QUIET, "train.batch_size=3"]
    one, two = (run(make_trainer(*quiet, f"train.processes={count}"), epochs=1) for count in (1, 2))
    assert one.history[0].loss == pytest.approx(two.history[0].loss, rel=1e-4)
    many = run(make_trainer(*quiet, "train.processes=4"), epochs=1)
    assert many.history[0].loss == pytest.approx(one.history[0].loss, rel=1e-4)


def test_every_sentence_is_in_one_shard():
    trainer = make_trainer("train.processes=3", "train.batch_size=7")
    ranks = [list(trainer.batches.shards(1, rank)) for rank in range(3)]
    batches = [shard.batch for shards in ranks for shard in shards if shard.batch]
    assert sum(len(batch.lengths) for batch in batches) == len(SENTENCES)
    assert [shard.sentences for shard in ranks[0]] == [shard.sentences for shard in ranks[2]]
    assert sum(shard.sentences for shard in ranks[0]) == len(SENTENCES)
    assert sum(shard.tokens for shard in ranks[1]) == sum(len(s.tokens) for s in SENTENCES)


def test_the_seed_determines_the_result():
    one, two, other = (
        run(make_trainer("train.processes=2", f"train.seed={seed}"), epochs=2) for seed in (3, 3, 4)
    )
    assert same(weights(one.model), weights(two.model)) and history(one) == history(two)
    assert not same(weights(one.model), weights(other.model))


def test_resuming_from_a_checkpoint_changes_nothing():
    uninterrupted = run(make_trainer("train.processes=2"))
    stopped = run(make_trainer("train.processes=2"), epochs=2)
    state = stopped.state_dict()
    assert history(run(stopped)) == history(uninterrupted)
    resumed = make_trainer("train.processes=2")
    torch.rand(7)
    resumed.load_state_dict(*state)
    run(resumed)
    assert history(resumed) == history(uninterrupted)
    assert same(weights(resumed.model), weights(uninterrupted.model))
    assert same(resumed.best_weights, uninterrupted.best_weights)


@FORKS
def test_error_in_a_worker_is_reported(monkeypatch):
    right, parent = Network.loss, os.getpid()

    def wrong(self, batch):
        if os.getpid() != parent:
            raise MemoryError("none left")
        return right(self, batch)

    monkeypatch.setattr(Network, "loss", wrong)
    with pytest.raises(RunError, match=r"^training worker failed: MemoryError: none left$"):
        run(make_trainer("train.processes=2"))


@FORKS
def test_processes_with_other_data_are_named():
    workers = make_trainer("train.processes=2").workers
    start = workers.running(lambda: check_agreement("training sentences", workers.rank))
    message = r"^training sentences: rank 1 on \S+ has others than rank 0; all machines need the"
    with pytest.raises(RunError, match=message), start:
        check_agreement("training sentences", 0)


@FORKS
def test_killed_worker_is_reported():
    trainer = make_trainer("train.processes=2")

    def kill(progress):
        os.kill(trainer.workers.children[0], signal.SIGKILL)

    with pytest.raises(RunError, match=r"^training worker failed: its process has ended$"):
        run(trainer, report=kill)


@FORKS
def test_worker_that_cannot_start_is_reported(monkeypatch):
    """For example at the limit of processes."""

    def fail():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fail)
    with pytest.raises(
        RunError,
        match=r"^cannot start training worker 2 of 2: Resource temporarily unavailable; lower",
    ):
        run(make_trainer("train.processes=2"))


def test_workers_are_at_most_as_many_as_a_batch_has_sentences():
    assert make_trainer("train.processes=1048576").workers.count == 4
    many = make_trainer("train.processes=1048576", "train.batch_size=1048576")
    assert many.workers.count == len(SENTENCES)


@FORKS
@pytest.mark.parametrize("epochs", [1, 4])
def test_workers_end_with_the_training(epochs):
    trainer = make_trainer("train.processes=3")
    children = set()
    run(trainer, epochs, lambda progress: children.update(trainer.workers.children))
    assert len(children) == 2 and not trainer.workers.children
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


@FORKS
def test_workers_listen_on_loopback_only():
    addresses = []

    def listening(progress):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in own_sockets():
                addresses.append(local.partition(":")[0])

    def own_sockets():
        files = Path("/proc/self/fd").iterdir()
        return {str(file.readlink()) for file in files if file.is_symlink()}

    run(make_trainer("train.processes=2", "train.epochs=1"), report=listening)
    assert set(addresses) == {"0100007F"}


def test_bfloat16_learns():
    """Only matrix products are bfloat16; weights, averages and the loss are float32."""
    settings = ("train.epochs=30", "train.ema_decay=0.8", "train.patience=0")
    trainer = run(make_trainer("train.precision=bfloat16", *settings))
    exact = run(make_trainer(*settings), epochs=1)
    assert trainer.history[-1].loss < 0.4 * trainer.history[0].loss and trainer.best.valid_f1 > 90
    assert {value.dtype for value in trainer.best_weights.values()} == {torch.float32}
    assert trainer.history[0].loss != exact.history[0].loss
    assert trainer.history[0].loss == pytest.approx(exact.history[0].loss, rel=0.05)
