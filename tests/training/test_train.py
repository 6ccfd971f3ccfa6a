"""Training on twenty sentences: it learns, is determined by the seed, and can be resumed."""

from __future__ import annotations

import json
import math
from collections import deque
from contextlib import suppress
from itertools import islice, pairwise

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import slotfill.data.splits
import slotfill.training.trainer
from slotfill.config.validate import parse_config
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.evaluation.evaluate import evaluate, validation_metrics
from slotfill.model.build import build_model
from slotfill.model.network import Network
from slotfill.training.batches import labelled_batches
from slotfill.training.trainer import Trainer

CITIES = ["Taipei", "Tokyo", "Rome", "New York", "Lima"]


def corpus():
    actual = []
    for number, city in enumerate(CITIES):
        for verb, name in (("leave", "from"), ("arrive in", "to")):
            for tail in ([], ["on", "day", str(number)]):
                before, words = verb.split(), city.split()
                slots = [Slot(name, len(before), len(before) + len(words))]
                if tail:
                    end = len(before) + len(words) + len(tail)
                    slots.append(Slot("day", end - 1, end))
                actual.append(Sentence.from_tokens([*before, *words, *tail], slots))
    return actual


SENTENCES = corpus()
SMALL = [
    "embedding=[{name: word, size: 8}, {name: char_cnn, size: 4, filters: 6}]",
    "encoder.hidden_size=8",
    "train.batch_size=4",
    "train.epochs=4",
    "train.learning_rate=0.01",
]


def make_trainer(*overrides, valid=SENTENCES, evaluate=validation_metrics):
    """Return a new Trainer, started as `build_trainer` does: seed, vocabulary, model."""
    config = parse_config("", "x", [*SMALL, *overrides])
    torch.manual_seed(config.train.seed)
    vocab = Vocab.from_sentences(SENTENCES, config.scheme)
    model = build_model(config, vocab, learning=True)
    return Trainer(model, config.train, vocab, SENTENCES, valid, evaluate)


def run(trainer, epochs=None, report=lambda progress: None):
    """Train for `epochs` epochs, or to the end."""
    deque(islice(trainer.train(report), epochs), maxlen=0)
    return trainer


class Stop(Exception):
    """Ends training within an epoch."""


def run_steps(trainer, steps=1):
    """Train for a few steps of the first epoch."""

    def report(progress):
        if progress.done == steps:
            raise Stop

    with pytest.raises(Stop):
        run(trainer, report=report)
    return trainer


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def ema_weights(trainer):
    with trainer.ema_weights():
        return weights(trainer.model)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def history(trainer):
    """Return the history without times."""
    return [(row.epoch, row.loss, row.valid_f1, row.learning_rate) for row in trainer.history]


def test_tiny_corpus_statistics():
    assert len(SENTENCES) == 20 and len({s.text for s in SENTENCES}) == 20


@pytest.mark.parametrize(
    ("optimizer", "tagger"),
    [("adam", "crf"), ("adamw", "{name: softmax, constrained: true}"), ("sgd", "crf")],
)
def test_overfits_twenty_sentences(optimizer, tagger):
    rate = 0.2 if optimizer == "sgd" else 0.06
    trainer = make_trainer(
        "train.epochs=10",
        "train.patience=0",
        "train.ema_decay=0.8",
        f"tagger={tagger}",
        "tagger.dropout=0.1",
        f"train.optimizer={optimizer}",
        f"train.learning_rate={rate}",
        "encoder.dropout=0.1",
        "encoder.hidden_size=16",
    )
    run(trainer)
    assert len(trainer.history) == 10
    assert trainer.history[-1].loss < 0.1 * trainer.history[0].loss
    assert trainer.best.valid_f1 == 100
    result = evaluate(trainer.best_model(), trainer.vocab, SENTENCES)
    assert result.overall.f1 == result.sentence_accuracy == result.tag_accuracy == 100


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_seed_determines_the_result(average):
    one, two, other = (
        run(make_trainer(f"train.ema_decay={average}", f"train.seed={seed}")) for seed in (3, 3, 4)
    )
    assert same(weights(one.model), weights(two.model)) and same(one.best_weights, two.best_weights)
    assert history(one) == history(two) != history(other)
    assert not same(weights(one.model), weights(other.model))


def test_batch_order_depends_only_on_the_epoch():
    trainer = make_trainer()
    first, again, second = (
        [shard.batch.lengths.tolist() for shard in trainer.batches.shards(epoch)]
        for epoch in (1, 1, 2)
    )
    assert first == again != second
    assert sum(map(len, first)) == 20 and len(first) == trainer.steps == 5


@pytest.mark.parametrize(
    ("optimizer", "average"),
    [("sgd", 0.9), ("adam", 0.9), ("adam", 0.0), ("adamw", 0.9), ("sgd train.momentum=0.0", 0.0)],
)
def test_resuming_from_a_checkpoint_changes_nothing(optimizer, average, tmp_path):
    settings = [
        f"train.ema_decay={average}",
        *f"train.optimizer={optimizer}".split(),
        "train.schedule=linear",
    ]
    uninterrupted = run(make_trainer(*settings))
    stopped = run(make_trainer(*settings), epochs=2)
    tensors, metadata = stopped.state_dict()
    save_file(tensors, tmp_path / "state.safetensors", metadata)
    run(stopped)
    assert same(weights(stopped.model), weights(uninterrupted.model)), (
        "taking the state disturbs nothing"
    )

    resumed = make_trainer(*settings)
    run(resumed, epochs=1)
    torch.rand(7)
    with safe_open(tmp_path / "state.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        resumed.load_state_dict(tensors, file.metadata())
    assert len(resumed.history) == 2
    run(resumed)
    assert history(resumed) == history(uninterrupted)
    assert same(weights(resumed.model), weights(uninterrupted.model))
    assert same(ema_weights(resumed), ema_weights(uninterrupted))
    assert same(resumed.best_weights, uninterrupted.best_weights)
    assert resumed.best.epoch == uninterrupted.best.epoch


def adam_state(change):
    return lambda tensors: {"optimizer.3/exp_avg": change(tensors["optimizer.3/exp_avg"])}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (adam_state(lambda t: t[:1]), r"optimizer\.3/exp_avg is torch.float32 \(1,\), but must be"),
        (adam_state(lambda t: t.double()), r"optimizer\.3/exp_avg is torch.float64"),
        (adam_state(lambda t: None), r"optimizer\.3/exp_avg is missing"),
        (lambda t: {"ema/module.3": torch.zeros(())}, r"ema/module\.3 is torch.float32 \(\)"),
        (
            lambda t: {"best/tagger.end": torch.zeros(9)},
            r"best/tagger\.end is torch.float32 \(9,\)",
        ),
        (lambda t: {"best/other": torch.zeros(9)}, r"best/other is torch.float32 \(9,\)"),
        (lambda t: {"model/tagger.end": None}, "model/tagger.end is missing"),
        (lambda t: {"random/cpu": torch.zeros(3)}, "random/cpu is torch.float32"),
        (lambda t: {"random.1/cpu": torch.zeros(3)}, "random.1/cpu is torch.float32"),
    ],
)
def test_a_checkpoint_whose_tensors_do_not_fit_is_refused(change, problem):
    tensors, metadata = run(make_trainer("train.ema_decay=0.9"), epochs=1).state_dict()
    tensors = {
        name: each for name, each in {**tensors, **change(tensors)}.items() if each is not None
    }
    with pytest.raises(ValueError, match=f"^{problem}"):
        make_trainer("train.ema_decay=0.9").load_state_dict(tensors, metadata)


BEGUN = {"steps": 0, "loss": 0.0, "kl": 0.0, "gradient_norm": 0.0, "tokens": 0, "sentences": 0}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps_done": "9" * 4000}, "steps_done: "),
        ({"steps_done": "-5"}, "steps_done: "),
        ({"best": "-3"}, "best: "),
        ({"best": "2"}, "best: not an epoch of the history"),
        ({"round": "1"}, "predicted: does not fit the round"),
        ({"predicted": '[[[["day", 0, 1]], null, [[1], 1]]]'}, "predicted: does not fit the round"),
        ({"predicted": "[[]]"}, "predicted.0.0: "),
        ({"history": "[" * 100_000}, "history: Invalid JSON"),
        ({"history": "[]", "best": "1"}, "best: "),
        ({"begun": json.dumps(BEGUN | {"steps": 5})}, "begun.steps: not within an epoch"),
        ({"begun": json.dumps(BEGUN | {"steps": 10**18})}, "begun.steps: "),
        ({"begun": json.dumps(BEGUN | {"seconds": math.nan})}, "begun.seconds: "),
        ({"valid_f1": "x"}, "history.0.valid_f1: "),
        ({"loss": None}, "history.0.loss: "),
        ({"seconds": math.inf}, "history.0.seconds: "),
        ({"epoch": 7}, "history: its epochs are not numbered from 1"),
    ],
)
def test_a_checkpoint_whose_numbers_are_not_possible_is_refused(changes, problem):
    tensors, metadata = run(make_trainer(), epochs=1).state_dict()
    if not changes.keys() <= metadata.keys():
        changes = {"history": json.dumps([json.loads(metadata["history"])[0] | changes])}
    with pytest.raises(ValueError, match=f"^{problem}"):
        make_trainer().load_state_dict(tensors, metadata | changes)


def scripted(monkeypatch, *metrics):
    """Return an `evaluate` that returns `metrics` in turn, for valid sets of any size."""
    monkeypatch.setattr(slotfill.data.splits, "MIN_VALID_LABELS", 0)
    results = iter(metrics)

    def evaluate(*_):
        f1, intents = next(results)
        return {"valid_f1": f1, "valid_intents": intents}

    return evaluate


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
    """An equal epoch is not better; the weights of the first best epoch are selected."""
    evaluate = scripted(monkeypatch, *((f1, None) for f1 in f1s))
    trainer = make_trainer("train.epochs=8", f"train.patience={patience}", evaluate=evaluate)
    after = [ema_weights(trainer) for _ in trainer.train()]
    assert len(trainer.history) == epochs == len(after)
    assert trainer.best.epoch == best and trainer.best.valid_f1 == f1s[best - 1]
    assert same(trainer.best_weights, after[best - 1])
    assert not any(same(trainer.best_weights, other) for other in after[: best - 1] + after[best:])


def test_intent_accuracy_breaks_ties_of_f1(monkeypatch):
    evaluate = scripted(monkeypatch, (0, 30), (0, 60), (0, 40), (5, 10), (5, 10), (4, 99))
    trainer = make_trainer("train.epochs=6", "train.patience=0", evaluate=evaluate)
    assert [trainer.best.epoch for _ in trainer.train()] == [1, 2, 2, 4, 4, 4]


def test_patience_continues_from_a_checkpoint(monkeypatch):
    settings = ["train.epochs=8", "train.patience=2"]
    evaluate = scripted(monkeypatch, *((f1, None) for f1 in (1, 5, 3, 4, 9)))
    stopped = run(make_trainer(*settings, evaluate=evaluate), epochs=3)
    resumed = make_trainer(*settings, evaluate=evaluate)
    resumed.load_state_dict(*stopped.state_dict())
    assert resumed.best.epoch == 2 and same(resumed.best_weights, stopped.best_weights)
    assert len(run(resumed).history) == 4


def learning_rates(*overrides):
    """Return the learning rate of each step, and the steps of an epoch."""
    trainer = make_trainer("train.patience=0", "train.learning_rate=0.02", *overrides)
    rates = []

    def record(optimizer, *_):
        rates.append(optimizer.param_groups[0]["lr"])

    trainer.optimizer.register_step_pre_hook(record)
    run(trainer)
    assert len(rates) == trainer.steps * len(trainer.history)
    assert [row.learning_rate for row in trainer.history] == rates[
        trainer.steps - 1 :: trainer.steps
    ]
    return rates, trainer.steps


@pytest.mark.parametrize(
    ("schedule", "warmup"),
    [
        ("constant", 0),
        ("constant", 2),
        ("linear", 0.5),
        ("linear", 1),
        ("cosine", 0),
        ("cosine", 2),
    ],
)
def test_rates(schedule, warmup):
    actual, steps = learning_rates(f"train.schedule={schedule}", f"train.warmup_epochs={warmup}")
    expected = []
    for step in range(4 * steps):
        past = (step / steps - warmup) / (4 - warmup)
        falling = {
            "constant": 1,
            "linear": 1 - past,
            "cosine": 0.5 * (1 + math.cos(math.pi * past)),
        }[schedule]
        expected.append(0.02 * (step / steps / warmup if step / steps < warmup else falling))
    # The first rate of a warm-up may be slightly above zero.
    assert actual == pytest.approx(expected, rel=1e-6, abs=0.02 * 3e-3)
    assert max(actual) <= 0.02 * (1 + 1e-9) and min(actual) > 0
    if warmup == 0:
        assert actual[0] == pytest.approx(0.02)


def test_warmup_longer_than_training():
    actual, _ = learning_rates("train.warmup_epochs=8")
    assert actual == sorted(actual) and 0.45 * 0.02 < actual[-1] < 0.5 * 0.02


def update_norm(clip, *overrides):
    """Return the norm of one update by SGD at rate 1, which is that of the gradient."""
    trainer = make_trainer(
        "train.optimizer=sgd",
        "train.momentum=0.0",
        "train.warmup_epochs=0",
        "train.schedule=constant",
        "train.ema_decay=0.0",
        "train.learning_rate=1",
        f"train.gradient_clip={clip}",
        *overrides,
    )
    before = weights(trainer.model)
    after = weights(run_steps(trainer).model)
    return math.sqrt(sum(float((after[name] - before[name]).square().sum()) for name in before))


def test_gradient_clip():
    free = update_norm(0)
    assert free > 0.5
    for clip in (0.01, 0.3):
        assert update_norm(clip) == pytest.approx(clip, rel=1e-3)
    assert update_norm(1000) == pytest.approx(free, rel=1e-4), (
        "one that is short enough stays as it is"
    )


@pytest.mark.parametrize("clip", [0, 0.01])
def test_history_has_the_norm_of_the_gradient_before_clipping(clip):
    trainer = make_trainer("train.batch_size=20", f"train.gradient_clip={clip}", "train.epochs=2")
    other = make_trainer("train.batch_size=20").model
    expected = []
    for epoch in (1, 2):
        other.load_state_dict(trainer.model.state_dict())
        other.zero_grad()
        (shard,) = trainer.batches.shards(epoch)
        torch.manual_seed(epoch)
        state = torch.get_rng_state()
        other.train().loss(shard.batch).backward()
        gradients = [weight.grad for weight in other.parameters() if weight.grad is not None]
        expected.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        torch.set_rng_state(state)
        run(trainer, 1)
    assert [row.gradient_norm for row in trainer.history] == pytest.approx(expected, rel=1e-5)


def test_history_has_the_loss_of_valid_without_what_cannot_be_predicted():
    unknown = Sentence.from_tokens(["leave", "now"], [Slot("hour", 1, 2)])
    trainer = run(make_trainer("train.ema_decay=0", valid=[*SENTENCES[:5], unknown]), 2)
    model = trainer.model.eval()
    with torch.no_grad():
        losses = [
            float(model.loss(batch))
            for sentence in SENTENCES[:5]
            for batch in labelled_batches([sentence], trainer.vocab, model.indexers)
        ]
    assert len(losses) == 5
    assert trainer.history[-1].valid_loss == pytest.approx(sum(losses) / 5, rel=1e-5)
    assert run(make_trainer(valid=[unknown]), 1).history[-1].valid_loss is None
    # The auxiliary language model is not a part of it.
    assert run(make_trainer("train.language_model_weight=1"), 1).history[-1].valid_loss > 0


def test_weight_decay():
    """Weights without a gradient, as embeddings of words that are not in the batch, shrink."""
    trainer = make_trainer(
        "train.optimizer=adamw", "train.weight_decay=0.5", "train.warmup_epochs=0"
    )
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    run_steps(trainer)
    count = 0
    for old, parameter in zip(before, trainer.model.parameters(), strict=True):
        unused = (parameter.grad == 0) & (old != 0)
        torch.testing.assert_close(parameter.detach()[unused], old[unused] * (1 - 0.01 * 0.5))
        count += int(unused.sum())
    assert count > 50


def test_ema_follows_the_weights():
    trainer = make_trainer("train.ema_decay=0.5", "train.epochs=1")
    initial = weights(trainer.model)
    assert same(ema_weights(trainer), initial)
    steps = [(initial, initial)]
    report = lambda progress: steps.append((ema_weights(trainer), weights(trainer.model)))  # noqa: E731
    run(trainer, report=report)
    for (before, _), (ema, now) in pairwise(steps):
        for name, value in ema.items():
            low = torch.minimum(before[name], now[name])
            high = torch.maximum(before[name], now[name])
            assert ((low - 1e-6 <= value) & (value <= high + 1e-6)).all()
    ema, now = steps[-1]
    assert not same(ema, now)
    assert same(trainer.best_weights, ema), "the averaged weights are the ones that are kept"


def test_ema_decay_grows_with_the_steps():
    trainer = make_trainer("train.ema_decay=0.5", "train.epochs=3")
    seen = []
    report = lambda progress: seen.append((ema_weights(trainer), weights(trainer.model)))  # noqa: E731
    run(trainer, report=report)
    steps = [pair for number, pair in enumerate(seen) if number % 6 != 5]
    for number, ((before, _), (ema, now)) in enumerate(pairwise(steps), start=2):
        decay = min(0.5, (1 + number) / (10 + number))
        for name, value in ema.items():
            torch.testing.assert_close(value, decay * before[name] + (1 - decay) * now[name])


def test_without_ema_the_weights_are_kept():
    trainer = run(make_trainer("train.ema_decay=0.0", "train.epochs=1"))
    assert same(trainer.best_weights, weights(trainer.model))


def test_validation_draws_no_random_numbers():
    """Validation does not change the trained weights."""
    one = run(make_trainer())
    two = run(make_trainer(valid=SENTENCES[:3]))
    assert same(weights(one.model), weights(two.model))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_every_step_is_in_training_mode_and_validation_in_evaluation_mode(average):
    modes = []

    def evaluate(model, *_):
        modes.append(model.training)
        return {"valid_f1": 1.0}

    trainer = make_trainer(f"train.ema_decay={average}", "train.epochs=2", evaluate=evaluate)
    run(
        trainer,
        report=lambda p: len(p.history) < p.epoch and modes.append(trainer.model.training),
    )
    assert modes == ([True] * 5 + [False]) * 2


@pytest.mark.parametrize(("min_labels", "best"), [(0, True), (10_000, False)])
def test_progress_reports_a_best_epoch_where_valid_ranks_them(min_labels, best, monkeypatch):
    monkeypatch.setattr(slotfill.data.splits, "MIN_VALID_LABELS", min_labels)
    reports = []
    trainer = make_trainer("train.epochs=3")

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

    run(trainer, report=report)
    steps = [(epoch, done, epoch - 1) for epoch in (1, 2, 3) for done in range(1, 6)]
    scored = [(epoch, 5, epoch) for epoch in (1, 2, 3)]
    assert [r[:3] for r in reports] == sorted(steps + scored)
    assert reports[0][3] is None and reports[-1][3] == (trainer.best.epoch if best else None)
    assert trainer.finished and [row.epoch for row in trainer.history] == [1, 2, 3]


def test_divergence_is_an_error():
    # The CRF's loss grows with the weights until it overflows.
    trainer = make_trainer(
        "train.optimizer=sgd",
        "train.learning_rate=1e38",
        "train.gradient_clip=0",
        "train.warmup_epochs=0",
        "train.epochs=5",
    )
    with pytest.raises(
        RunError,
        match=r"became (nan|inf|nan or inf) (in|by) step \d+: lower train.learning_rate"
        r" \(1e\+38\), or set train.gradient_clip=5$",
    ):
        run(trainer)


@pytest.mark.parametrize("of_gradient", [False, True])
def test_what_is_not_finite_before_the_first_step_is_not_the_learning_rate(of_gradient):
    weight = "0.5" if of_gradient else "1e38"
    trainer = make_trainer(f"encoder.cell={{name: indrnn, max_recurrent_weight: {weight}}}")
    if of_gradient:
        bias = trainer.model.encoders[0].layers[0].bias
        bias.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(RunError) as error:
        run(trainer)
    what = "a gradient" if of_gradient else "the loss"
    assert str(error.value).startswith(f"{what} became ")
    assert str(error.value).endswith(
        " in step 1, before any weight was changed: see the options of encoder and encoder.cell,"
        " which make numbers too large"
    )


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_nonfinite_loss_ends_training_before_the_weights_are_updated(bad, monkeypatch):
    trainer = make_trainer()
    run(trainer, epochs=1)
    before = weights(trainer.model)
    right = Network.loss
    monkeypatch.setattr(Network, "loss", lambda self, batch: right(self, batch) * float(bad))
    with pytest.raises(RunError, match=f"the loss became {bad} in step 6"):
        run(trainer)
    assert same(weights(trainer.model), before)
    assert trainer.best.epoch == 1


def test_loss_is_synchronized_at_intervals_on_a_device():
    """The weights are the same, and the reported loss is a little older."""
    expected = run(make_trainer("train.batch_size=1"))
    actual = make_trainer("train.batch_size=1")
    actual.on_cpu = False
    shown = []
    run(actual, report=lambda p: len(p.history) < p.epoch and shown.append(p.loss))
    assert same(weights(actual.model), weights(expected.model)) and history(actual) == history(
        expected
    )
    assert len(shown) == 80 and len(set(shown)) == 8, "steps 1 and 17 of each epoch of 20"
    bad = make_trainer(
        "train.batch_size=1",
        "train.optimizer=sgd",
        "train.learning_rate=1e38",
        "train.gradient_clip=0",
    )
    bad.on_cpu = False
    with pytest.raises(RunError, match=r"the loss became (nan|inf) in step (17|21|37|41|57|61|77)"):
        run(bad)


@pytest.mark.parametrize("average", ["0.0", "0.9"])
def test_weights_that_overflow_are_an_error(average):
    """The loss of the only step is finite."""
    trainer = make_trainer(
        "train.batch_size=20",
        "train.epochs=1",
        "train.learning_rate=3e38",
        "train.warmup_epochs=0",
        f"train.ema_decay={average}",
    )
    with pytest.raises(
        RunError,
        match=r"a weight became nan or inf by step 1: lower train.learning_rate \(3e\+38\)",
    ):
        run(trainer)
    assert trainer.best is None


@pytest.mark.parametrize("rate", [1e10, 1e19, 1e30])
@pytest.mark.filterwarnings("error")
def test_an_epoch_whose_next_loss_is_not_finite_is_not_kept(rate):
    """The loss of its only step and its weights are finite; validation prints no warning."""
    trainer = make_trainer(
        "train.batch_size=20",
        "train.epochs=1",
        "train.optimizer=sgd",
        f"train.learning_rate={rate}",
        "train.gradient_clip=0",
        "train.warmup_epochs=0",
        "train.ema_decay=0.0",
    )
    with suppress(RunError):
        run(trainer)
    with torch.no_grad():
        loss = trainer.model.eval().loss(next(trainer.batches.shards(2)).batch)
    assert len(trainer.history) == bool(loss.isfinite())


def test_selected_model_has_no_language_model():
    trainer = run(make_trainer("embedding=word", "train.language_model_weight=0.5"), epochs=1)
    assert any("language_model" in name for name in trainer.best_weights)
    assert not any("language_model" in name for name in trainer.best_model().state_dict())


def test_checkpoints_within_an_epoch_take_at_most_a_fiftieth_of_the_time(monkeypatch):
    monkeypatch.setattr(slotfill.training.trainer, "time", clock := Clock())
    trainer = make_trainer("train.checkpoint_minutes=1e-9", "train.epochs=10")
    times = []

    def save():
        times.append(clock.now)
        clock.now += 0.2

    deque(trainer.train(lambda progress: clock.wait(1), save), maxlen=0)
    assert len(times) > 2
    assert all(after - before >= 50 * 0.2 for before, after in pairwise(times))


class Clock:
    """The module `time`, whose seconds pass only when a test advances them."""

    now = 0.0

    def monotonic(self):
        return self.now

    def perf_counter(self):
        self.now += 1e-3
        return self.now

    def wait(self, seconds):
        self.now += seconds
