"""Sparse tables: used rows are updated as if all were in every step, and no others change."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from test_data_parallel import FORKS, QUIET, gradient
from test_train import ema_weights, history, make_trainer, run, run_steps, same, weights

import slotfill.training.sparse
import slotfill.training.trainer
from slotfill.model.layers import LookupTable
from slotfill.training.ema import ema_decay
from slotfill.training.sparse import BETA, EPSILON, SparseTable

NGRAMS = "embedding=[{name: word, size: 8}, {name: ngrams, size: 6}]"


@pytest.fixture(autouse=True)
def every_table(monkeypatch):
    monkeypatch.setattr(slotfill.training.sparse, "MIN_NUMBERS", 0)


@pytest.mark.parametrize("highest", [0.05, 0.5, 0.8])
def test_rows_follow_the_equations_of_all_rows(highest):
    """Against the update of all rows in every step, with zero gradients, in 64 bits."""
    random = np.random.default_rng(0)
    module = LookupTable(5, 3)
    table = SparseTable(module, highest)
    weight = module.weight.detach().double().numpy().copy()
    square, ema = np.zeros_like(weight), weight.copy()
    for step in range(1, 31):
        ids = torch.tensor(random.integers(0, 4, random.integers(0, 4)))
        factors = torch.tensor(random.normal(size=(len(ids), 3)), dtype=torch.float32)
        (module(ids) * factors).sum().backward()
        gradient = np.zeros_like(weight)
        np.add.at(gradient, ids.numpy(), factors.numpy())
        table.collect(table.is_used)
        assert table.rows.tolist() == sorted(set(ids.tolist()))
        table.step(0.01, step)
        square = BETA * square + (1 - BETA) * gradient**2
        weight -= 0.01 * gradient / (np.sqrt(square / (1 - BETA**step)) + EPSILON)
        decay = ema_decay(step, highest)
        ema = decay * ema + (1 - decay) * weight
        np.testing.assert_allclose(module.weight.detach(), weight, rtol=1e-5, atol=1e-6)
        average = table.average(step)
        np.testing.assert_allclose(average, ema, rtol=1e-5, atol=1e-6)
    assert module.weight.grad is None


def test_rows_that_a_step_does_not_use_stay_as_they_are():
    trainer = make_trainer(NGRAMS, "train.warmup_epochs=0")
    assert len(trainer.tables) == 2 and len(trainer.weights) > 2
    before = [table.weight.detach().clone() for table in trainer.tables]
    run_steps(trainer)
    for table, old in zip(trainer.tables, before, strict=True):
        changed = (table.weight != old).any(dim=1).nonzero()[:, 0].tolist()
        assert 0 < len(changed) < len(old) and set(changed) <= set(table.rows.tolist())
        assert 0 not in changed, "padding"


def test_gradient_clip_counts_tables():
    trainer = make_trainer(NGRAMS, "train.gradient_clip=0.25")
    norms = []

    def record(optimizer, *_):
        parts = [*trainer.weights, *(table.values for table in trainer.tables)]
        norms.append(float(sum(part.grad.square().sum() for part in parts)) ** 0.5)

    trainer.optimizer.register_step_pre_hook(record)
    run_steps(trainer)
    assert norms == pytest.approx([0.25], rel=1e-4)


@pytest.mark.parametrize(
    "overrides", [["train.optimizer=sgd"], ["train.optimizer=adamw", "train.weight_decay=0.1"]]
)
def test_optimizers_that_change_unused_rows_have_no_tables(overrides):
    assert not make_trainer(NGRAMS, *overrides).tables


def test_small_tables_are_trained_as_other_weights(monkeypatch):
    monkeypatch.setattr(slotfill.training.sparse, "MIN_NUMBERS", 10**6)
    assert not make_trainer(NGRAMS).tables


@FORKS
def test_processes_sum_the_gradients_of_rows():
    quiet = [*QUIET[1:], "embedding=[{name: ngrams, size: 6, dropout: 0.0}]"]
    one, two = gradient(*quiet)[0], gradient(*quiet, "train.processes=3")[0]
    for table, other in zip(one.tables, two.tables, strict=True):
        assert table.rows.tolist() == other.rows.tolist()
        torch.testing.assert_close(table.values.grad, other.values.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("average", "processes"), [(0.0, 1), (0.9, 1), pytest.param(0.9, 2, marks=FORKS)]
)
def test_resuming_from_a_checkpoint_changes_nothing(average, processes):
    settings = [NGRAMS, f"train.ema_decay={average}", f"train.processes={processes}"]
    uninterrupted = run(make_trainer(*settings))
    state = run(make_trainer(*settings), epochs=2).state_dict()
    resumed = make_trainer(*settings)
    resumed.load_state_dict(*state)
    run(resumed)
    assert history(resumed) == history(uninterrupted)
    assert same(weights(resumed.model), weights(uninterrupted.model))
    assert same(ema_weights(resumed), ema_weights(uninterrupted))
    assert same(resumed.best_weights, uninterrupted.best_weights)


@FORKS
def test_training_leaves_no_connections():
    """Their threads are not forked, so that a later training could wait for them forever."""

    def threads():
        names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
        return sum("gloo" in name or "tcpstore" in name for name in names)

    before = threads()
    trainer = run(make_trainer(NGRAMS, "train.processes=2", "train.epochs=1"))
    assert threads() == before and len(trainer.history) == 1


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=FORKS)])
def test_resuming_within_an_epoch_changes_nothing(processes, monkeypatch):
    monkeypatch.setattr(slotfill.training.trainer, "_MIN_INTERVAL", 0)
    settings = [NGRAMS, f"train.processes={processes}", "train.ema_decay=0.9", "train.epochs=2"]
    settings.append("encoder.dropout=0.5")
    uninterrupted = run(make_trainer(*settings))
    saved = make_trainer(*settings, "train.checkpoint_minutes=1e-9")
    states = []
    deque(saved.train(save=lambda: states.append(saved.state_dict())), maxlen=0)
    assert len(states) == 2 * (saved.steps - 1)
    assert history(saved) == history(uninterrupted), "saving changes nothing"
    for state in (states[0], states[-1]):
        resumed = make_trainer(*settings)
        torch.rand(7)
        resumed.load_state_dict(*state)
        run(resumed)
        assert history(resumed) == history(uninterrupted)
        assert same(weights(resumed.model), weights(uninterrupted.model))
        assert same(ema_weights(resumed), ema_weights(uninterrupted))
        assert same(resumed.best_weights, uninterrupted.best_weights)
