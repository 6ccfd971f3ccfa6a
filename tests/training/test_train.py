"""Training on a corpus of twenty sentences: it learns, the seed decides, and stopping and going on
changes nothing.
"""

from __future__ import annotations

import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import slotfill.training.selection
import slotfill.training.trainer
from slotfill.config.validate import parse_config
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.evaluation.evaluate import evaluate
from slotfill.model.build import build_model
from slotfill.model.tagger import SlotTagger
from slotfill.training.trainer import Training

CITIES = ["Taipei", "Tokyo", "Rome", "New York", "Lima"]


def corpus():
    found = []
    for number, city in enumerate(CITIES):
        for verb, name in (("leave", "from"), ("arrive in", "to")):
            for tail in ([], ["on", "day", str(number)]):
                before, words = verb.split(), city.split()
                slots = [Slot(name, len(before), len(before) + len(words))]
                if tail:
                    end = len(before) + len(words) + len(tail)
                    slots.append(Slot("day", end - 1, end))
                found.append(Sentence.from_tokens([*before, *words, *tail], slots))
    return found


SENTENCES = corpus()
SMALL = [
    "embedding=[{name: word, size: 8}, {name: char_cnn, size: 4, filters: 6}]",
    "encoder.hidden_size=8",
    "train.batch_size=4",
    "train.epochs=4",
    "train.learning_rate=0.01",
]


def training_of(*overrides, valid=SENTENCES):
    """A fresh Training, started as `train` does: seed, vocabulary, model."""
    config = parse_config("", "x", [*SMALL, *overrides])
    torch.manual_seed(config.train.seed)
    vocab = Vocab.from_sentences(SENTENCES, config.scheme)
    return Training(config.train, build_model(config, vocab), SENTENCES, valid, vocab)


def run(training, epochs=10**9, report=lambda progress: None):
    while epochs and not training.finished:
        training.epoch(report)
        epochs -= 1
    return training


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def told(training):
    """The history, but for what the clock decides."""
    return [(row.epoch, row.loss, row.valid_f1, row.learning_rate) for row in training.history]


def test_corpus():
    assert len(SENTENCES) == 20 and len({s.text for s in SENTENCES}) == 20


@pytest.mark.parametrize("tagger", ["crf", "{name: softmax, constrained: true}"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_learns_twenty_sentences_by_heart(optimizer, tagger):
    rate = 0.1 if optimizer == "sgd" else 0.02
    training = training_of(
        "train.epochs=40", "train.patience=0", "train.ema_decay=0.8", f"tagger={tagger}", "tagger.dropout=0.1",
        f"train.optimizer={optimizer}", f"train.learning_rate={rate}", "encoder.dropout=0.1", "encoder.hidden_size=16",
    )  # fmt: skip
    run(training)
    assert len(training.history) == 40
    assert training.history[-1].loss < 0.1 * training.history[0].loss
    assert training.best.valid_f1 == 100
    training.averaged.load_state_dict(training.best_weights)
    result = evaluate(training.averaged.eval(), training.vocab, SENTENCES)
    assert result.overall.f1 == result.sentence_accuracy == result.tag_accuracy == 100


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_seed_decides(average):
    one, two, other = (
        run(training_of(f"train.ema_decay={average}", f"train.seed={seed}")) for seed in (3, 3, 4)
    )
    assert same(weights(one.model), weights(two.model)) and same(one.best_weights, two.best_weights)
    assert told(one) == told(two) != told(other)
    assert not same(weights(one.model), weights(other.model))


def test_the_order_changes_from_epoch_to_epoch_only():
    training = training_of()
    first, again, second = (
        [b.batch.lengths.tolist() for b in training.batches(epoch)] for epoch in (1, 1, 2)
    )
    assert first == again != second
    assert sum(map(len, first)) == 20 and len(first) == training.steps == 5


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "sgd train.momentum=0.0"])
def test_going_on_from_a_checkpoint_changes_nothing(optimizer, average, tmp_path):
    settings = [
        f"train.ema_decay={average}",
        *f"train.optimizer={optimizer}".split(),
        "train.schedule=linear",
    ]
    wanted = run(training_of(*settings))
    stopped = run(training_of(*settings), epochs=2)
    tensors, notes = stopped.state()
    save_file(tensors, tmp_path / "state.safetensors", notes)
    run(stopped)
    assert same(weights(stopped.model), weights(wanted.model)), "taking the state disturbs nothing"

    again = training_of(*settings)
    run(again, epochs=1)
    torch.rand(7)
    with safe_open(tmp_path / "state.safetensors", "pt") as file:
        again.restore({name: file.get_tensor(name) for name in file.keys()}, file.metadata())  # noqa: SIM118
    assert len(again.history) == 2
    run(again)
    assert told(again) == told(wanted)
    assert same(weights(again.model), weights(wanted.model))
    assert same(weights(again.averaged), weights(wanted.averaged))
    assert same(again.best_weights, wanted.best_weights) and again.best.epoch == wanted.best.epoch


def script_f1(monkeypatch, values):
    """Let epochs score `values` on a valid that ranks them, whatever they learn."""
    monkeypatch.setattr(slotfill.training.selection, "MIN_VALID_LABELS", 0)
    left = iter(values)
    monkeypatch.setattr(
        slotfill.training.trainer, "validation_metrics", lambda *_: (next(left), None)
    )


@pytest.mark.parametrize(
    ("patience", "f1s", "epochs", "best"),
    [
        (2, [1, 5, 3, 4, 9], 4, 2),
        (1, [1, 5, 3, 4, 9], 3, 2),
        (3, [5, 5, 5, 5, 9], 4, 1),
        (0, [5, 0, 0, 0, 0, 0, 0, 0], 8, 1),
        (2, [0, 0, 0, 0], 3, 1),
        (2, [1, 2, 3, 4, 5, 6, 7, 8], 8, 8),
    ],
)
def test_patience_and_the_best_epoch(patience, f1s, epochs, best, monkeypatch):
    """An epoch no better than the best is not better; the weights of the best are kept."""
    script_f1(monkeypatch, f1s)
    training = training_of("train.epochs=8", f"train.patience={patience}")
    after = []
    while not training.finished:
        training.epoch(lambda progress: None)
        after.append(weights(training.averaged))
    assert len(training.history) == epochs == len(after)
    assert training.best.epoch == best and training.best.valid_f1 == f1s[best - 1]
    assert same(training.best_weights, after[best - 1])
    assert not any(same(training.best_weights, other) for other in after[: best - 1] + after[best:])


def test_of_epochs_with_the_same_f1_the_one_with_more_intents_right_is_better(monkeypatch):
    monkeypatch.setattr(slotfill.training.selection, "MIN_VALID_LABELS", 0)
    told = iter([(0, 30), (0, 60), (0, 40), (5, 10), (5, 10), (4, 99)])
    monkeypatch.setattr(slotfill.training.trainer, "validation_metrics", lambda *_: next(told))
    training = training_of("train.epochs=6", "train.patience=0")
    best = []
    while not training.finished:
        training.epoch(lambda progress: None)
        best.append(training.best.epoch)
    assert best == [1, 2, 2, 4, 4, 4]


def test_patience_goes_on_from_a_checkpoint(monkeypatch):
    script_f1(monkeypatch, [1, 5, 3, 4, 9])
    stopped = run(training_of("train.epochs=8", "train.patience=2"), epochs=3)
    again = training_of("train.epochs=8", "train.patience=2")
    again.restore(*stopped.state())
    assert again.best.epoch == 2 and same(again.best_weights, stopped.best_weights)
    assert len(run(again).history) == 4


def learning_rates(*overrides):
    """The learning rate of each step, and the steps of an epoch."""
    training = training_of("train.patience=0", "train.learning_rate=0.02", *overrides)
    found = []
    # The report of an epoch's score comes after its last step, so that it is no further step.
    run(
        training,
        report=lambda p: len(p.history) < p.epoch and found.append(training.optimizer.rate),
    )
    assert len(found) == training.steps * len(training.history)
    assert [row.learning_rate for row in training.history] == found[
        training.steps - 1 :: training.steps
    ]
    return found, training.steps


@pytest.mark.parametrize("warmup", [0, 0.5, 1, 2])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_rates(schedule, warmup):
    found, steps = learning_rates(f"train.schedule={schedule}", f"train.warmup_epochs={warmup}")
    wanted = []
    for step in range(4 * steps):
        past = (step / steps - warmup) / (4 - warmup)
        falling = {
            "constant": 1,
            "linear": 1 - past,
            "cosine": 0.5 * (1 + math.cos(math.pi * past)),
        }[schedule]
        wanted.append(0.02 * (step / steps / warmup if step / steps < warmup else falling))
    # The very first step of a warm-up may be a little more than nothing.
    assert found == pytest.approx(wanted, rel=1e-6, abs=0.02 * 3e-3)
    assert max(found) <= 0.02 * (1 + 1e-9) and min(found) > 0
    if warmup == 0:
        assert found[0] == pytest.approx(0.02)


def test_warmup_longer_than_training():
    found, _ = learning_rates("train.warmup_epochs=8")
    assert found == sorted(found) and 0.45 * 0.02 < found[-1] < 0.5 * 0.02


def moved(clip, *overrides):
    """How far one step of plain gradient descent at rate 1 moves the weights: as far as the
    gradient is long.
    """
    training = training_of(
        "train.optimizer=sgd", "train.momentum=0.0", "train.warmup_epochs=0", "train.schedule=constant", "train.ema_decay=0.0",
        "train.learning_rate=1", f"train.gradient_clip={clip}", *overrides,
    )  # fmt: skip
    before = weights(training.model)
    training.model.train()
    training.step(next(training.batches(1)))
    after = weights(training.model)
    return math.sqrt(sum(float((after[name] - before[name]).square().sum()) for name in before))


def test_gradient_clip():
    free = moved(0)
    assert free > 0.5
    for clip in (0.01, 0.3):
        assert moved(clip) == pytest.approx(clip, rel=1e-3)
    assert moved(1000) == pytest.approx(free, rel=1e-4), "one that is short enough stays as it is"


def test_weight_decay():
    """Weights that the loss does not care for, as vectors of words not in the batch, shrink."""
    training = training_of(
        "train.optimizer=adamw",
        "train.weight_decay=0.5",
        "train.warmup_epochs=0",
        "train.ema_decay=0.0",
    )
    before = [parameter.detach().clone() for parameter in training.model.parameters()]
    training.model.train()
    training.step(next(training.batches(1)))
    count = 0
    for old, parameter in zip(before, training.model.parameters(), strict=True):
        idle = (parameter.grad == 0) & (old != 0)
        torch.testing.assert_close(parameter.detach()[idle], old[idle] * (1 - 0.01 * 0.5))
        count += int(idle.sum())
    assert count > 50


def test_average_follows_the_weights():
    training = training_of("train.ema_decay=0.5")
    training.model.train()
    assert training.averaged is not training.model and same(
        weights(training.averaged), weights(training.model)
    )
    for batch in training.batches(1):
        before = weights(training.averaged)
        training.step(batch)
        now = weights(training.model)
        for name, value in weights(training.averaged).items():
            low, high = (
                torch.minimum(before[name], now[name]),
                torch.maximum(before[name], now[name]),
            )
            assert ((low - 1e-6 <= value) & (value <= high + 1e-6)).all()
    assert not same(weights(training.averaged), now)
    # What is kept is the average, not the weights.
    training.epoch(lambda progress: None)
    assert same(training.best_weights, weights(training.averaged))


def test_without_average_the_weights_are_kept():
    training = run(training_of("train.ema_decay=0.0", "train.epochs=1"))
    assert same(training.best_weights, weights(training.model))


def test_scoring_draws_nothing():
    """So that how often, and on what, valid is scored does not change what is learned."""
    one = run(training_of())
    two = run(training_of(valid=SENTENCES[:3]))
    assert same(weights(one.model), weights(two.model))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_awake_in_every_step_of_every_epoch(average):
    """Though the same network, if there is no average, is scored in between."""
    training = training_of(f"train.ema_decay={average}", "train.epochs=2")
    awake = []
    run(
        training,
        report=lambda p: len(p.history) < p.epoch and awake.append(training.model.training),
    )
    assert awake == [True] * 10 and not training.averaged.training


def test_progress():
    reports = []
    training = training_of("train.epochs=3")

    def report(progress):
        reports.append(
            (
                progress.epoch,
                progress.done,
                len(progress.history),
                progress.best and progress.best.epoch,
            )
        )
        assert (progress.epochs, progress.steps) == (3, 5)
        assert (
            math.isfinite(progress.loss)
            and progress.tokens_per_second > 0
            and progress.seconds_left >= 0
        )

    run(training, report=report)
    steps = [(epoch, done, epoch - 1) for epoch in (1, 2, 3) for done in range(1, 6)]
    scored = [(epoch, 5, epoch) for epoch in (1, 2, 3)]
    assert [r[:3] for r in reports] == sorted(steps + scored)
    assert reports[0][3] is None and reports[-1][3] == training.best.epoch
    assert training.finished and [row.epoch for row in training.history] == [1, 2, 3]


def test_diverging_is_an_error():
    # The CRF's loss grows with the weights until it is no number.
    training = training_of(
        "train.optimizer=sgd",
        "train.learning_rate=1e30",
        "train.gradient_clip=0",
        "train.warmup_epochs=0",
        "train.epochs=5",
    )
    with pytest.raises(
        RunError,
        match=r"the loss became (nan|inf) in step \d+: lower train.learning_rate \(1e\+30\)",
    ):
        run(training)


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_before_the_weights_are_spoiled(bad, monkeypatch):
    training = training_of()
    run(training, epochs=1)
    before = weights(training.model)
    right = SlotTagger.loss
    monkeypatch.setattr(SlotTagger, "loss", lambda self, batch: right(self, batch) * float(bad))
    with pytest.raises(RunError, match=f"the loss became {bad} in step 6"):
        run(training)
    assert same(weights(training.model), before)
    assert training.best.epoch == 1


def test_where_a_device_would_be_waited_for_the_loss_is_looked_at_seldom():
    """The same is learned, and what is shown is a little older."""
    wanted = run(training_of("train.batch_size=1"))
    found = training_of("train.batch_size=1")
    found.on_cpu = False
    shown = []
    run(found, report=lambda p: len(p.history) < p.epoch and shown.append(p.loss))
    assert same(weights(found.model), weights(wanted.model)) and told(found) == told(wanted)
    assert len(shown) == 80 and len(set(shown)) == 8, "steps 1 and 17 of each epoch of 20"
    bad = training_of(
        "train.batch_size=1",
        "train.optimizer=sgd",
        "train.learning_rate=1e30",
        "train.gradient_clip=0",
    )
    bad.on_cpu = False
    with pytest.raises(RunError, match=r"the loss became (nan|inf) in step (17|21|37|41|57|61|77)"):
        run(bad)


def test_weights_stand_side_by_side():
    """So that one update serves them all, and what looks at a part of the network sees it."""
    training = training_of("train.ema_decay=0.5")
    training.model.train()
    training.step(next(training.batches(1)))
    for vector, model in (
        (training.weights.detach(), training.model),
        (training.average, training.averaged),
    ):
        begin, end = vector.data_ptr(), vector.data_ptr() + 4 * len(vector)
        places = sorted((each.data_ptr(), 4 * each.numel()) for each in model.parameters())
        assert begin == places[0][0] and all(place % 64 == begin % 64 for place, _ in places)
        following = [*(place for place, _ in places[1:]), end]
        assert all(
            0 <= later - place - size < 64
            for (place, size), later in zip(places, following, strict=True)
        )
    assert training.averaged.indexers[0] is training.model.indexers[0], (
        "the vocabulary is not copied"
    )
