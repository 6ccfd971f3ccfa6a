"""Attention against loops over pairs of tokens; masking, and recorded weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from part_cases import make_vocab, randomize

from slotfill.config.registry import ENCODERS
from slotfill.data.batching import make_batch
from slotfill.model import layers as _additive
from slotfill.model.activations import record_activations
from slotfill.model.network import Network

LENGTHS = torch.tensor([4, 1, 6, 3])
SIZE = 5
PARTS = {
    "attention": {"name": "attention", "size": 3, "dropout": 0.0},
    "one head": {"name": "self_attention", "heads": 1, "head_size": 2},
    "three heads": {"name": "self_attention", "heads": 3, "head_size": 4},
}


def built(name, size=SIZE):
    encoder = ENCODERS.build(PARTS[name], size).double().eval()
    randomize(encoder, 2)
    return encoder


def sentences(lengths=LENGTHS, size=SIZE):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(
        len(lengths), int(lengths.max()), size, generator=generator, dtype=torch.float64
    )
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 0
    return x


def softmax(scores):
    powers = np.exp(np.array(scores) - max(scores))
    return powers / powers.sum()


def additive(encoder, x):
    """Return the outputs `(time, size)` and weights `(1, time, time)` of `x` from the equations."""
    w, u = (
        linear.weight.detach().numpy().T
        for linear in (encoder.attention.query, encoder.attention.key)
    )
    v = encoder.attention.score.detach().numpy()
    weights, outputs = [], []
    for h_i in x:
        a = softmax([v @ np.tanh(h_i @ w + h_j @ u) for h_j in x])
        weights.append(a)
        outputs.append(
            np.concatenate([h_i, sum(a_ij * h_j for a_ij, h_j in zip(a, x, strict=True))])
        )
    return np.array(outputs), np.array(weights)[None]


def multi_head(encoder, x):
    """Return the outputs of self-attention, and its weights `(heads, time, time)`."""
    heads = encoder.heads
    rows = encoder.projections.weight.detach().numpy()
    w_q, w_k, w_v = rows.reshape(3, heads, -1, rows.shape[1])
    gathered, weights = [[] for _ in x], np.zeros((heads, len(x), len(x)))
    for head in range(heads):
        for i, x_i in enumerate(x):
            scores = [(w_q[head] @ x_i) @ (w_k[head] @ x_j) / np.sqrt(w_q.shape[1]) for x_j in x]
            weights[head, i] = softmax(scores)
            gathered[i].append(
                sum(a * (w_v[head] @ x_j) for a, x_j in zip(weights[head, i], x, strict=True))
            )
    outputs = []
    for x_i, parts in zip(x, gathered, strict=True):
        y = x_i + encoder.join.weight.detach().numpy() @ np.concatenate(parts)
        y = (y - y.mean()) / np.sqrt(y.var() + encoder.norm.eps)
        outputs.append(
            y * encoder.norm.weight.detach().numpy() + encoder.norm.bias.detach().numpy()
        )
    return np.array(outputs), weights


@pytest.mark.parametrize("name", PARTS)
def test_matches_loop_over_pairs(name):
    encoder, x = built(name), sentences()
    with record_activations(encoder) as notes:
        outputs = encoder(x, LENGTHS).detach().numpy()
    (weights,) = notes[""]["weights"]
    for row, length, actual, seen in zip(x.numpy(), LENGTHS, outputs, weights.numpy(), strict=True):
        expected, shares = (additive if name == "attention" else multi_head)(encoder, row[:length])
        np.testing.assert_allclose(actual[:length], expected, atol=1e-12)
        np.testing.assert_allclose(seen[:, :length, :length], shares, atol=1e-12)


def normalized(x, norm):
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    return (x - x.mean()) / np.sqrt(x.var() + norm.eps) * weight + bias


def transformer(encoder, x, positions, norm):
    """Return the outputs of the encoder, one sublayer and one token after another."""
    w = {name: parameter.detach().numpy() for name, parameter in encoder.named_parameters()}
    size = encoder.output_size
    stream = [np.sqrt(size) * (w["input.weight"] @ x_t + w["input.bias"]) for x_t in x]
    for time, vector in enumerate(stream):
        if positions == "sinusoidal":
            for unit in range(size):
                angle = time / 10000 ** ((unit - unit % 2) / size)
                vector[unit] += np.cos(angle) if unit % 2 else np.sin(angle)
        elif positions == "learned":
            vector += w["position_vectors"][time]
    for number, layer in enumerate(encoder.layers):
        own = {name.split(".", 2)[2]: v for name, v in w.items() if f"layers.{number}." in name}
        rows = own["projections.weight"]
        w_q, w_k, w_v = rows.reshape(3, layer.heads, -1, rows.shape[1])

        def attention(xs, w_q=w_q, w_k=w_k, w_v=w_v, own=own):
            outputs = []
            for x_i in xs:
                read = []
                for q, k, v in zip(w_q, w_k, w_v, strict=True):
                    a = softmax([(q @ x_i) @ (k @ x_j) / np.sqrt(len(q)) for x_j in xs])
                    read.append(sum(a_j * (v @ x_j) for a_j, x_j in zip(a, xs, strict=True)))
                outputs.append(own["join.weight"] @ np.concatenate(read))
            return outputs

        def feedforward(xs, own=own):
            hidden = [np.maximum(own["expand.weight"] @ x + own["expand.bias"], 0) for x in xs]
            return [own["reduce.weight"] @ h + own["reduce.bias"] for h in hidden]

        for sublayer, own_norm in zip((attention, feedforward), layer.norms, strict=True):
            if norm == "pre":
                added = sublayer([normalized(x, own_norm) for x in stream])
                stream = [x + y for x, y in zip(stream, added, strict=True)]
            else:
                added = sublayer(stream)
                stream = [normalized(x + y, own_norm) for x, y in zip(stream, added, strict=True)]
    return np.array([normalized(x, encoder.norm) for x in stream] if norm == "pre" else stream)


@pytest.mark.parametrize(
    ("positions", "norm"), [("sinusoidal", "pre"), ("learned", "post"), ("none", "pre")]
)
def test_transformer_matches_loop_over_tokens(positions, norm, monkeypatch):
    monkeypatch.setattr("slotfill.model.encoders.transformer.MAX_LEARNED", 6)
    sizes = {"hidden_size": 7, "head_size": 3, "feedforward_size": 4, "dropout": 0.0}
    part = {"name": "transformer", "positions": positions, "norm": norm, **sizes}
    encoder, x = ENCODERS.build(part, SIZE).double().eval(), sentences()
    randomize(encoder, 2)
    outputs = encoder(x, LENGTHS).detach().numpy()
    for row, length, actual in zip(x.numpy(), LENGTHS, outputs, strict=True):
        expected = transformer(encoder, row[:length], positions, norm)
        np.testing.assert_allclose(actual[:length], expected, atol=1e-11)
    if positions == "learned":  # Tokens after the last learned position share its vector.
        longer = torch.cat((x[2:3], x[2:3, -1:].expand(1, 2, SIZE)), dim=1)
        last = encoder(longer, torch.tensor([8]))[0, 5:]
        torch.testing.assert_close(last, last[:1].expand_as(last), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", PARTS)
def test_weights_sum_to_one_and_are_zero_at_padding(name):
    encoder, x = built(name), sentences()
    with record_activations(encoder) as notes:
        encoder(x, LENGTHS)
    (weights,) = notes[""]["weights"]
    assert weights.shape == (4, getattr(encoder, "heads", 1), 6, 6)
    torch.testing.assert_close(weights.sum(3), torch.ones_like(weights[..., 0]), atol=1e-12, rtol=0)
    for row, length in zip(weights, LENGTHS, strict=True):
        assert (row[:, :, length:] == 0).all() and (row[:, :, :length] > 0).all()


@pytest.mark.parametrize("name", PARTS)
def test_permutation_equivariance(name):
    """Shuffled tokens give the same vectors, shuffled."""
    encoder, x = built(name), sentences(torch.tensor([6]))
    lengths = torch.tensor([6])
    output = encoder(x, lengths)
    changed = x.clone()
    changed[0, 4] += 1
    assert ((encoder(changed, lengths) - output).abs().amax(2) > 1e-6).all()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(encoder(x[:, order], lengths), output[:, order], atol=1e-12, rtol=0)


def test_long_sentences_are_processed_in_chunks(monkeypatch):
    """Outputs and gradients are the same for chunks of a few queries."""
    encoder, x = built("attention"), sentences().requires_grad_()
    expected = encoder(x, LENGTHS)
    weights = torch.randn(
        expected.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    variables = [x, *encoder.parameters()]
    gradients = torch.autograd.grad((expected * weights).sum(), variables)
    largest = []
    kept = _additive.AdditiveAttention._weights

    def watched(self, queries, keys, mask):
        largest.append(queries.shape[1])
        return kept(self, queries, keys, mask)

    monkeypatch.setattr(_additive, "MAX_ELEMENTS", 2 * 4 * 6 * 3)
    monkeypatch.setattr(_additive.AdditiveAttention, "_weights", watched)
    actual = encoder(x, LENGTHS)
    assert largest == [2, 2, 2]
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)
    actual = torch.autograd.grad((actual * weights).sum(), variables)
    for computed, reference in zip(actual, gradients, strict=True):
        torch.testing.assert_close(computed, reference, atol=1e-12, rtol=0)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(x, LENGTHS), expected.detach(), atol=1e-12, rtol=0)


def test_residual_path_has_no_dropout():
    encoder = (
        ENCODERS.build({"name": "attention", "size": 3, "dropout": 0.5}, SIZE).double().train()
    )
    x = sentences()
    torch.manual_seed(1)
    outputs = encoder(x, LENGTHS)
    assert torch.equal(outputs[..., :SIZE], x)
    assert not torch.equal(outputs[..., SIZE:], encoder.eval()(x, LENGTHS)[..., SIZE:])


@pytest.mark.parametrize("second", PARTS)
def test_stacks_on_any_encoder(second):
    """In a stack, with the names that `record_activations` gives."""
    vocab = make_vocab()
    torch.manual_seed(1)
    model = Network(vocab, ["word"], ["feedforward", "recurrent", PARTS[second]], "crf").eval()
    batch = make_batch([["leave", "Taipei"], ["at", "11:30", "sharp"]], model.indexers)
    with record_activations(model) as notes:
        model.emissions(batch)
    (weights,) = notes["encoders.2"]["weights"]
    assert weights.shape == (2, PARTS[second].get("heads", 1), 3, 3)
    assert (weights[0, :, :, 2] == 0).all()
