"""The depth-gated LSTM against its equations, a loop in NumPy, and its first layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cell_cases import HIDDEN, LENGTHS, Weights, batch, build_encoder, sigmoid

from slotfill.config.registry import CELLS


def depth_gated(encoder, x):
    """Return the top layer's outputs for a sentence `x` `(time, size)`, direction by direction."""
    below = {}
    for layer, cell in enumerate(encoder.layers):
        outputs = np.zeros((len(x), 2 * HIDDEN))
        memories = {}
        for way in range(2):
            w = Weights(cell, way)
            h, c = np.zeros(HIDDEN), np.zeros(HIDDEN)
            for token in range(len(x)) if way == 0 else reversed(range(len(x))):
                products = x[token] @ w("input_weight") + w("bias")[0]
                i, f, o, g = np.split(products[: 4 * HIDDEN] + h @ w("recurrent_weight"), 4)
                flow = 0
                if layer:
                    l = below[way, token]  # noqa: E741
                    flow = (
                        sigmoid(
                            products[4 * HIDDEN :]
                            + w("memory_weight")[0] * c
                            + w("lower_memory_weight")[0] * l
                        )
                        * l
                    )
                c = flow + sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
                memories[way, token] = c
                outputs[token, way * HIDDEN : (way + 1) * HIDDEN] = h
        x, below = outputs, memories
    return x


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_matches_equations(layers):
    """In the backward direction the lower memory is that of the backward direction."""
    encoder, (x, lengths) = build_encoder("depth_gated", 3, layers), batch(3)
    found = encoder(x, lengths).detach().numpy()
    for sentence, length, row in zip(x.numpy(), LENGTHS, found, strict=True):
        np.testing.assert_allclose(
            row[:length], depth_gated(encoder, sentence[:length]), atol=1e-12, rtol=1e-12
        )


def test_gradient_matches_numerical():
    encoder, x = build_encoder("depth_gated", 2, 2), batch(2)[0][:3, :3].requires_grad_()
    lengths = torch.tensor([3, 1, 2])
    assert torch.autograd.gradcheck(
        lambda x, *_: encoder(x, lengths), (x, *encoder.parameters()), fast_mode=True
    )


def test_first_layer_has_no_depth_gate():
    first, *others = build_encoder("depth_gated", 3, 3).layers
    plain = {
        name: tuple(p.shape) for name, p in CELLS.build("lstm", 3, HIDDEN, 2).named_parameters()
    }
    assert {
        name: tuple(p.shape) for name, p in first.named_parameters()
    } == plain and "depth" not in first.gates
    for other in others:
        assert "depth" in other.gates and other.bias.shape[2] == 5 * HIDDEN
        assert other.memory_weight.shape == other.lower_memory_weight.shape == (2, 1, HIDDEN)
