"""Class imbalance: weights, the focal loss and repeated sentences do what they say, and no more."""

from __future__ import annotations

from collections import Counter
from math import ceil, floor, sqrt

import numpy as np
import pytest
import torch
from conftest import write_config
from hypothesis import given, settings
from hypothesis import strategies as st
from part_cases import SENTENCES, make_labelled_batch, make_vocab, randomize, small
from test_data_parallel import QUIET, gradient
from test_train import history, make_trainer, run, same, weights

from slotfill.config.registry import TAGGERS
from slotfill.config.sections import TrainConfig
from slotfill.data.sentence import Sentence, Slot
from slotfill.model.network import Network
from slotfill.training.imbalance import repeat_factors, repeat_new, repeat_rare, sentence_weights

COUNT = len(SENTENCES)


def labelled(*names):
    """Return a sentence with one slot of each name."""
    slots = [Slot(name, index, index + 1) for index, name in enumerate(names)]
    return Sentence.from_tokens(["w"] * (len(names) + 1), slots)


CORPUS = [labelled("city"), labelled("city", "time"), labelled(), labelled("city", "city", "rare")]


@pytest.mark.parametrize("name", TAGGERS.names())
class TestLoss:
    def network(self, name):
        vocab = make_vocab()
        tagger = small("tagger", name)
        if name == "show_attend_tell":
            # A mean over the sentences, whatever their weights.
            tagger["doubly_stochastic"] = 0.0
        model = Network(vocab, ["word"], "feedforward", tagger).double().eval()
        randomize(model, 2, scale=0.5)
        return model, make_labelled_batch(model, vocab, SENTENCES)

    def gradients(self, model, batch):
        model.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return loss.detach(), torch.cat(parts)

    def test_weights_of_one_change_nothing(self, name):
        model, batch = self.network(name)
        loss, gradient = self.gradients(model, batch)
        batch.weights = np.ones(COUNT, np.float32)
        weighted, weighted_gradient = self.gradients(model, batch)
        assert torch.equal(weighted, loss) and torch.equal(weighted_gradient, gradient)

    def test_a_weight_scales_the_loss_and_the_gradient_of_its_sentence(self, name):
        model, batch = self.network(name)
        rows = []
        for row in range(COUNT):
            batch.weights = np.eye(COUNT, dtype=np.float32)[row]
            rows.append(self.gradients(model, batch))
        batch.weights = np.arange(COUNT, dtype=np.float32) / 2
        for index, found in enumerate(self.gradients(model, batch)):
            expected = sum(
                float(weight) * row[index] for weight, row in zip(batch.weights, rows, strict=True)
            )
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
        batch.weights = np.full(COUNT, 2, np.float32)
        doubled, _ = self.gradients(model, batch)
        torch.testing.assert_close(doubled, 2 * sum(row[0] for row in rows), atol=1e-9, rtol=1e-9)

    def test_focal_loss_is_the_formula(self, name):
        model, batch = self.network(name)
        losses = []
        for row in range(COUNT):
            batch.weights = np.eye(COUNT, dtype=np.float32)[row]
            losses.append(float(self.gradients(model, batch)[0]) * COUNT)
        batch.weights = None
        for gamma in (0.5, 2.0):
            model.focal_gamma = gamma
            loss, gradient = self.gradients(model, batch)
            p = np.exp(-np.array(losses) / batch.lengths)
            assert float(loss) == pytest.approx(float(np.mean((1 - p) ** gamma * losses)))
            assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_focal_loss_of_a_sentence_that_is_certain_has_a_finite_gradient(gamma):
    model = Network(make_vocab(), ["word"], "feedforward", "softmax")
    with torch.no_grad():
        model.tagger.linear.weight.zero_()
        model.tagger.linear.bias.copy_(torch.arange(len(make_vocab().tags), 0, -1) * 200)
    model.focal_gamma = gamma
    words = [Sentence.from_tokens(["leave"], [], SENTENCES[0].intent)]
    model.eval().loss(make_labelled_batch(model, make_vocab(), words)).backward()
    assert model.tagger.linear.weight.grad.isfinite().all()


def test_a_sentence_has_the_largest_weight_of_its_slots():
    config = TrainConfig(slot_weights={"rare": 5, "time": 0.5})
    assert sentence_weights(CORPUS, config).tolist() == [1, 1, 1, 5]
    config = TrainConfig(slot_weights={"city": 0.25, "time": 0.5})
    assert sentence_weights(CORPUS, config).tolist() == [0.25, 0.5, 1, 1]
    assert sentence_weights(CORPUS, TrainConfig()) is None


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0])
def test_class_balance_is_the_inverse_frequency_with_a_mean_of_one(exponent):
    counts = {"city": 4, "time": 1, "rare": 1}
    powers = {name: count**-exponent for name, count in counts.items()}
    scale = 6 / sum(counts[name] * power for name, power in powers.items())
    found = sentence_weights(CORPUS, TrainConfig(class_balance=exponent))
    city, rare = scale * powers["city"], scale * powers["rare"]
    assert found == pytest.approx([city, rare, 1, rare])
    together = TrainConfig(class_balance=exponent, slot_weights={"city": 100})
    assert sentence_weights(CORPUS, together) == pytest.approx([100 * city] * 2 + [1, 100 * city])


def test_sentences_without_slots_have_weights_and_are_not_repeated():
    config = TrainConfig(class_balance=1.0, repeat_threshold=1.0)
    assert sentence_weights([labelled()] * 3, config).tolist() == [1, 1, 1]
    assert len(repeat_rare([labelled()] * 3, config)) == 3


@given(
    corpus=st.lists(
        st.lists(st.sampled_from("abcd"), max_size=3).map(lambda names: labelled(*names)),
        min_size=1,
        max_size=30,
    ),
    threshold=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
@settings(max_examples=50, derandomize=True)
def test_sentences_are_repeated_as_often_as_their_rarest_slot_asks(corpus, threshold, seed):
    config = TrainConfig(repeat_threshold=threshold, seed=seed)
    found = repeat_rare(corpus, config)
    assert found == repeat_rare(corpus, config)
    times = Counter(map(id, found))
    factors = repeat_factors(corpus, threshold)
    for sentence, factor in zip(corpus, factors, strict=True):
        shares = [
            sum(name in {slot.name for slot in other.slots} for other in corpus) / len(corpus)
            for name in {slot.name for slot in sentence.slots}
        ]
        assert factor == pytest.approx(max([1, *(sqrt(threshold / share) for share in shares)]))
        assert floor(factor) <= times[id(sentence)] <= ceil(factor)


def test_repetitions_agree_with_the_factors_in_the_mean():
    factor = repeat_factors(CORPUS, 0.9)[3]
    seeds = (TrainConfig(repeat_threshold=0.9, seed=seed) for seed in range(2000))
    times = [sum(one is CORPUS[3] for one in repeat_rare(CORPUS, config)) for config in seeds]
    assert 1 < factor < 2
    assert np.mean(times) == pytest.approx(factor, abs=0.04)


ALL = ["train.class_balance=0.5", "train.focal_gamma=1", "train.repeat_threshold=0.9"]


def test_workers_give_the_gradient_of_the_weighted_batch():
    _, expected, loss, _ = gradient(*QUIET, *ALL)
    trainer, found, total, _ = gradient(*QUIET, *ALL, "train.processes=2")
    assert trainer.workers.count == 2 and trainer.batches.weights.max() > 1
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert total == pytest.approx(loss, rel=1e-5)


def test_training_with_all_remedies_is_resumed_bit_for_bit():
    uninterrupted = run(make_trainer(*ALL))
    resumed = make_trainer(*ALL)
    resumed.load_state_dict(*run(make_trainer(*ALL), epochs=2).state_dict())
    run(resumed)
    assert history(resumed) == history(uninterrupted)
    assert same(weights(resumed.model), weights(uninterrupted.model))


def test_training_with_weights_of_one_is_that_without():
    names = make_trainer().vocab.slot_names
    ones = "{" + ", ".join(f"{name}: 1" for name in names) + "}"
    plain, weighted = run(make_trainer()), run(make_trainer(f"train.slot_weights={ones}"))
    assert history(plain) == history(weighted)
    assert same(weights(plain.model), weights(weighted.model))


def test_each_network_of_an_ensemble_has_the_focal_loss():
    trainer = make_trainer("ensemble_size=2", "train.focal_gamma=2")
    assert [member.focal_gamma for member in trainer.model.members] == [2, 2]


@pytest.mark.parametrize("command", ["train", "check"])
def test_unknown_slots_are_an_error_at_their_line(command, cli, desk):
    train = "{epochs: 1, slot_weights: {origin: 2, destinaton: 3}}"
    write_config(desk / "tiny.yaml", train=train)
    result = cli(command, "tiny.yaml")
    assert result.code == 2
    line = len((desk / "tiny.yaml").read_text().splitlines())
    assert f"tiny.yaml:{line}: train.slot_weights.destinaton: no training sentence" in result.err
    assert "did you mean 'destination'?" in result.err
    assert not (desk / "runs").exists()


def test_weights_are_set_on_the_command_line_by_names_with_dots(cli, desk):
    result = cli("check", "tiny.yaml", "train.slot_weights.from.city=2")
    assert result.code == 2 and "train.slot_weights.from.city: no training" in result.err
    result = cli("check", "tiny.yaml", "train.slot_weights.origin=-1")
    assert result.code == 2 and "must be at least 0, found -1" in result.err
    assert cli("check", "tiny.yaml", "train.slot_weights.origin=2").code == 0


@pytest.mark.parametrize(
    ("weights", "key"),
    [
        ("{origin: 0, destination: 0}", "train.slot_weights"),
        ("{origin: .inf}", "train.slot_weights.origin"),
        ("{origin: .nan}", "train.slot_weights.origin"),
        ("{origin: 1e7}", "train.slot_weights.origin"),
    ],
)
def test_weights_that_learn_nothing_are_refused(weights, key, desk, cli):
    for command in ("check", "train"):
        done = cli(command, "tiny.yaml", f"train.slot_weights={weights}")
        assert done.code == 2 and done.err.startswith(f"slotfill: command line: {key}: ")


def test_new_sentences_are_repeated_up_to_a_quarter():
    for new, earlier, expected in ((20, 300, 100), (1, 300, 10), (50, 60, 50), (3, 0, 3)):
        repeated = repeat_new([*range(new + earlier)], earlier)
        assert sum(each < new for each in repeated) == expected
        assert repeated[len(repeated) - earlier :] == [*range(new, new + earlier)]
