"""The KL bottleneck against a loop over its equations: samples and KL term."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cell_cases import HIDDEN, LENGTHS, Weights, batch, both_ways, build_encoder, sigmoid

from slotfill.config.registry import CELLS
from slotfill.model.recurrence import run_cell

PRIORS = pytest.mark.parametrize("prior", ["learned", "fixed"])


def kl_bottleneck(w, xs, latent_size, prior="learned", noise=None, divergences=None):
    """The output of each step; each step's divergence is added to the list `divergences`."""
    h, c = np.zeros(HIDDEN), np.zeros(HIDDEN)
    for time, x in enumerate(xs):
        past = np.split(
            h @ w("hidden_to_latent_weight") + w("hidden_to_latent_bias")[0],
            4 if prior == "learned" else 2,
        )
        mean, log_deviation = np.split(x @ w("posterior_weight"), 2)
        mean, deviation = mean + past[0], np.exp(log_deviation + past[1])
        prior_mean, prior_deviation = (past[2], np.exp(past[3])) if prior == "learned" else (0, 1)
        kl = np.log(prior_deviation / deviation) - 0.5
        kl = kl + (deviation**2 + (mean - prior_mean) ** 2) / (2 * prior_deviation**2)
        if divergences is not None:
            divergences.append(kl.sum())
        z = mean if noise is None else mean + deviation * noise[time]
        products = (
            x @ w("input_weight")
            + z @ w("latent_weight")
            + h @ w("recurrent_weight")
            + w("bias")[0]
        )
        i, f, o, g = np.split(products, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        yield h


@PRIORS
@pytest.mark.parametrize("size", [3, HIDDEN])
def test_matches_equations(size, prior):
    """With the mean as z, as in prediction."""
    options = {"latent_size": 3, "prior": prior}
    encoder, (x, lengths) = build_encoder({"name": "kl_bottleneck", **options}, size), batch(size)
    actual = encoder(x, lengths).detach().numpy()
    for sentence, length, row in zip(x.numpy(), LENGTHS, actual, strict=True):
        expected = both_ways(
            encoder.layers[0], sentence[:length], lambda w, xs: kl_bottleneck(w, xs, **options)
        )
        np.testing.assert_allclose(row[:length], expected, atol=1e-12, rtol=1e-12)


@PRIORS
def test_loss_is_the_divergence_of_the_tokens(prior):
    """The loss is the sum over tokens and directions, the mean over sentences, with any padding."""
    options = {"latent_size": 3, "prior": prior}
    encoder, (x, lengths) = build_encoder({"name": "kl_bottleneck", **options}, 4), batch(4)
    expected = []
    for sentence, length in zip(x.numpy(), LENGTHS, strict=True):
        both_ways(
            encoder.layers[0],
            sentence[:length],
            lambda w, xs: kl_bottleneck(w, xs, **options, divergences=expected),
        )
    assert len(expected) == 2 * sum(LENGTHS) and min(expected) > 0
    encoder(x, lengths)
    assert encoder.regularization_loss.item() == pytest.approx(
        sum(expected) / len(LENGTHS), rel=1e-12
    )
    encoder(torch.nn.functional.pad(x, (0, 0, 0, 3), value=9.0), lengths)
    assert encoder.regularization_loss.item() == pytest.approx(
        sum(expected) / len(LENGTHS), rel=1e-12
    )
    weighted = build_encoder({"name": "kl_bottleneck", **options, "kl_weight": 0.25}, 4)
    weighted(x, lengths)
    assert weighted.regularization_loss.item() == pytest.approx(
        sum(expected) / len(LENGTHS) / 4, rel=1e-12
    )


@PRIORS
def test_without_weight_the_divergence_is_not_learned(prior):
    """Only the prediction is: the weights of the prior keep their values."""
    options = {"latent_size": 3, "prior": prior, "kl_weight": 0}
    encoder, (x, lengths) = build_encoder({"name": "kl_bottleneck", **options}, 4), batch(4)
    loss = encoder.train()(x, lengths).square().sum()
    (loss + encoder.regularization_loss).backward()
    assert encoder.regularization_loss == 0
    gradient = encoder.layers[0].hidden_to_latent_weight.grad
    assert gradient[:, :, :6].any() and not gradient[:, :, 6:].any()


@PRIORS
def test_divergence_matches_torch(prior):
    cell = CELLS.build({"name": "kl_bottleneck", "latent_size": 3, "prior": prior}, 4, HIDDEN)
    m, log_s, m_p, log_s_p = torch.randn(
        4, 2, 6, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    if prior == "fixed":
        m_p, log_s_p = torch.zeros_like(m), torch.zeros_like(m)
    q, p = (
        torch.distributions.Normal(m, log_s.exp()),
        torch.distributions.Normal(m_p, log_s_p.exp()),
    )
    expected = torch.distributions.kl_divergence(q, p).sum(2, keepdim=True)
    actual = cell.divergence(
        m, log_s, torch.cat((m_p, log_s_p), dim=2) if prior == "learned" else m[..., :0]
    )
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-12)


@PRIORS
def test_samples_in_training_only(prior):
    """z = m + s * e with random e of the seed, step by step by the equations."""
    options = {"latent_size": 3, "prior": prior}
    cell = build_encoder({"name": "kl_bottleneck", **options}, 4).layers[0].train()
    x = batch(4)[0].transpose(0, 1).repeat(2, 1, 1, 1)
    torch.manual_seed(6)
    noise = torch.stack(
        [torch.randn(2, len(LENGTHS), 3, dtype=torch.float64) for _ in range(x.shape[1])]
    )
    torch.manual_seed(6)
    actual = run_cell(cell, x)[0].detach().numpy()
    for way in range(2):
        for row in range(len(LENGTHS)):
            drawn = noise[:, way, row].numpy()
            expected = list(
                kl_bottleneck(Weights(cell, way), x[way, :, row].numpy(), **options, noise=drawn)
            )
            np.testing.assert_allclose(actual[way, :, row], expected, atol=1e-12, rtol=1e-12)
    assert not torch.equal(run_cell(cell, x)[0], run_cell(cell, x)[0])
    assert torch.equal(run_cell(cell.eval(), x)[0], run_cell(cell, x)[0])


@PRIORS
def test_gradient_matches_numerical_in_training(prior):
    encoder = build_encoder({"name": "kl_bottleneck", "latent_size": 2, "prior": prior}, 2).train()
    x, lengths = batch(2)[0][:3, :3].requires_grad_(), torch.tensor([3, 1, 2])

    def run_seeded(x, *_):
        torch.manual_seed(3)
        return encoder(x, lengths), encoder.regularization_loss

    assert torch.autograd.gradcheck(run_seeded, (x, *encoder.parameters()), fast_mode=True)
