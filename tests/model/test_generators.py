"""Generators: language models of labelled sentences, with and without latent vectors."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
import torch
from part_cases import SENTENCES, label, make_vocab, randomize, small

from slotfill.config.registry import GENERATORS
from slotfill.config.sections import TrainConfig
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.evaluation.likelihood import likelihood_metrics, measure_likelihood
from slotfill.model.generators.base import Gaussian
from slotfill.training.trainer import Trainer

WITH_LATENTS = ["draw", "storn", "vrnn"]
PARTS = [
    *(small("generator", name) for name in GENERATORS.names()),
    *(
        {**small("generator", "vrnn"), "cell": small("cell", cell)}
        for cell in ("elman", "gru", "clockwork", "depth_gated")
    ),
    {**small("generator", "draw"), "canvas_length": 4, "filters": 2, "steps": 2},
]
ALL_PARTS = pytest.mark.parametrize("part", PARTS, ids=label)


def build(part, vocab=None, scale=0.5):
    torch.default_generator.manual_seed(1)
    model = GENERATORS.build(part, vocab or make_vocab()).double().eval()
    randomize(model, 1, scale)
    return model


def encode(model, sentences):
    return model.encode(model.linearization.make_batch(sentences))


@pytest.fixture
def mean_latents(monkeypatch):
    """Each latent vector is the mean of its distribution, so that nothing is random."""
    monkeypatch.setattr(Gaussian, "sample", lambda self, random=None: self.mean)


@ALL_PARTS
def test_a_sentence_has_the_same_terms_alone_and_in_a_padded_batch(part, mean_latents):
    model = build(part)
    together = model.terms(*encode(model, SENTENCES))
    for index, sentence in enumerate(SENTENCES):
        for term, alone in zip(together, model.terms(*encode(model, [sentence])), strict=True):
            torch.testing.assert_close(term[index], alone[0], atol=1e-10, rtol=0)


@ALL_PARTS
def test_the_loss_is_finite_and_each_parameter_has_its_gradient(part):
    model = build(part).train()
    model.free_nats = 0.0
    loss = model.loss(model.linearization.make_batch(SENTENCES))
    assert loss.isfinite()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("name", GENERATORS.names())
def test_the_gradient_equals_the_numerical_one(name):
    model = build(small("generator", name))
    model.free_nats = 0.0
    batch = model.linearization.make_batch(SENTENCES[:3])

    def run(*_):
        torch.default_generator.manual_seed(3)
        return model.loss(batch)

    assert torch.autograd.gradcheck(run, tuple(model.parameters()), fast_mode=True)


@ALL_PARTS
def test_samples_depend_on_the_seed_alone(part, monkeypatch):
    monkeypatch.setattr("slotfill.model.generators.base.MAX_SYMBOLS", 12)
    model = build(part)
    torch.default_generator.manual_seed(1)
    first = list(islice(model.sample(seed=3), 300))
    torch.default_generator.manual_seed(2)
    assert list(islice(model.sample(seed=3), 20)) == first[:20]
    assert list(islice(model.sample(seed=4), 300)) != first


@ALL_PARTS
def test_step_by_step_states_are_those_of_the_complete_sentence(part, mean_latents, monkeypatch):
    """Sampling goes through the same network as training, given the latents of the prior."""
    model = build(part)
    symbols, _ = encode(model, SENTENCES[:1])
    seen = []
    original = model.log_likelihood

    def log_likelihood(states, symbols):
        seen.append(states)
        return original(states, symbols)

    monkeypatch.setattr(model, "log_likelihood", log_likelihood)
    if part["name"] == "vrnn":
        monkeypatch.setattr(model.posterior, "forward", lambda x, h: model.prior(h))
    elif part["name"] in WITH_LATENTS:
        size = part["latent_size"]
        monkeypatch.setattr(
            model.posterior,
            "forward",
            lambda h: Gaussian.standard(h.new_zeros(*h.shape[:-1], size)),
        )
    model.terms(symbols, torch.tensor([symbols.shape[1]]))
    random = torch.Generator()
    memory, previous = model.start(1, random), torch.tensor([1])
    for time in range(symbols.shape[1]):
        state, memory = model.next(previous, memory, random)
        torch.testing.assert_close(state, seen[0][:, time], atol=1e-10, rtol=0)
        previous = symbols[:, time]


def test_the_recurrent_one_equals_the_equations_in_numpy():
    model = build({**small("generator", "recurrent"), "cell": "elman"})
    weights = {name: tensor.detach().numpy() for name, tensor in model.named_parameters()}
    vectors, u = weights["vectors"], weights["recurrence.cell.recurrent_weight"][0]
    symbols, lengths = encode(model, SENTENCES)
    actual = model.terms(symbols, lengths).log_likelihood.detach().numpy()
    for row, length, value in zip(symbols.numpy(), lengths.numpy(), actual, strict=True):
        h, previous, expected = np.zeros(len(u)), 1, 0.0
        for symbol in row[:length]:
            x = vectors[previous] @ weights["recurrence.cell.input_weight"][0]
            x = x + weights["recurrence.cell.bias"][0, 0]
            h = np.tanh(x + h @ u)
            state = weights["projection.weight"] @ h + weights["projection.bias"]
            logits = vectors @ state + weights["bias"]
            expected += logits[symbol] - np.log(np.exp(logits).sum())
            previous = symbol
        assert value == pytest.approx(expected, abs=1e-10)


def test_divergence_and_density_are_those_of_torch():
    m, s, m_p, s_p, z = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(4))
    q, p = (torch.distributions.Normal(a, b.exp()) for a, b in ((m, s), (m_p, s_p)))
    actual = Gaussian(m, s).divergence(Gaussian(m_p, s_p))
    torch.testing.assert_close(actual, torch.distributions.kl_divergence(q, p).sum(1))
    ratio = Gaussian(m, s).log_density(z) - Gaussian(m_p, s_p).log_density(z)
    torch.testing.assert_close(ratio, (q.log_prob(z) - p.log_prob(z)).sum(1))


@pytest.mark.parametrize("name", WITH_LATENTS)
def test_the_elbo_is_below_the_likelihood_by_importance_sampling(name):
    """And the KL in closed form is the mean of its samples."""
    sentences = [Sentence.from_tokens(["a", "b"], [Slot("s", 1, 2)])]
    model = build(small("generator", name), Vocab.from_sentences(sentences, "iob2"))
    with torch.no_grad():
        terms = model.terms(*encode(model, sentences * 4000))
    elbo = (terms.log_likelihood - terms.kl).mean()
    weights = terms.log_likelihood - terms.log_ratio
    likelihood = weights.logsumexp(0) - math.log(len(weights))
    assert elbo < likelihood < 0
    assert weights.mean() == pytest.approx(float(elbo), abs=6 * float(weights.std()) / 4000**0.5)


def test_the_probabilities_of_all_sentences_are_at_most_one():
    """Of all that have at most three symbols of five; END ends each of them."""
    vocab = Vocab.from_sentences([Sentence.from_tokens(["a", "b"], [Slot("s", 1, 2)])], "iob2")
    model = build(small("generator", "recurrent"), vocab)
    grid = torch.cartesian_prod(*[torch.arange(2, model.linearization.size)] * 2)
    total = 0.0
    for length in (0, 1, 2):
        rows = grid[:, :length].unique(dim=0) if length else grid[:1, :0]
        symbols = torch.cat((rows, torch.ones(len(rows), 1, dtype=torch.long)), dim=1)
        lengths = torch.full((len(rows),), length + 1)
        with torch.no_grad():
            total += float(model.terms(symbols, lengths).log_likelihood.exp().sum())
    assert 0.2 < total < 1


def test_a_cell_with_a_loss_of_its_own_is_refused():
    for name in GENERATORS.names():
        with pytest.raises(ConfigError, match=r"generator\.cell: has a loss of its own"):
            GENERATORS.build({"name": name, "cell": "kl_bottleneck"}, make_vocab())


def train(part, epochs=15):
    """The history of a generator trained on 40 sentences about cities."""
    cities = [f"city{i}" for i in range(8)]
    sentences = [
        Sentence.from_tokens(
            ["from", cities[i % 8], "to", cities[i * 3 % 7]], [Slot("a", 1, 2), Slot("b", 3, 4)]
        )
        for i in range(40)
    ]
    vocab = Vocab.from_sentences(sentences, "iob2")
    torch.default_generator.manual_seed(1)
    model = GENERATORS.build(part, vocab)
    config = TrainConfig(epochs=epochs, learning_rate=0.02, batch_size=20, ema_decay=0.0)
    trainer = Trainer(model, config, vocab, sentences, sentences[:20], likelihood_metrics)
    history = list(trainer.train())
    return trainer, history, measure_likelihood(trainer.best_model(), sentences)


@pytest.mark.parametrize("name", WITH_LATENTS)
def test_the_divergence_does_not_collapse(name):
    part = {**small("generator", name), "hidden_size": 16}
    if name == "draw":
        part["steps"] = 4
    assert train({**part, "free_nats": 0.5})[2].kl > 0.5
    assert train({**part, "free_nats": 0.0})[2].kl < 0.1


def test_the_epoch_of_the_best_elbo_is_kept():
    trainer, history, _ = train({**small("generator", "recurrent"), "hidden_size": 16}, 12)
    assert trainer.best.valid_elbo == max(row.valid_elbo for row in history)
    assert history[0].valid_perplexity > trainer.best.valid_perplexity > 1
    assert trainer.best.valid_f1 is None and trainer.best.kl == 0
