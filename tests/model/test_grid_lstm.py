"""Grid LSTM against a loop over tokens and layers in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from part_cases import randomize

from slotfill.config.registry import ENCODERS
from slotfill.model.activations import record_activations

LENGTHS = torch.tensor([4, 1, 6, 3])
SIZE, HIDDEN = 3, 4
GATES = ("input", "forget", "output", "candidate")


def built(**options):
    part = {"name": "grid_lstm", "hidden_size": HIDDEN, "dropout": 0.0, **options}
    encoder = ENCODERS.build(part, SIZE).double().eval()
    randomize(encoder, 2)
    return encoder


def sentences():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(
        len(LENGTHS), int(LENGTHS.max()), SIZE, generator=generator, dtype=torch.float64
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(weights, direction, joined, m):
    """(h', m', gates) of equation 1."""
    weight, bias = (
        weights.weight.detach().numpy()[direction],
        weights.bias.detach().numpy()[direction, 0],
    )
    i, f, o, g = np.split(joined @ weight + bias, 4)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    m = f * m + i * g
    return np.tanh(o * m), m, dict(zip(GATES, (i, f, o, g), strict=True))


def loop(encoder, x, direction):
    """Return the outputs `(time, hidden)` of a sentence, and the activations by (token, name)."""
    weight = encoder.input_weight.detach().numpy()[direction]
    bias = encoder.input_bias.detach().numpy()[direction, 0]
    time_state = [(np.zeros(HIDDEN), np.zeros(HIDDEN)) for _ in range(encoder.layers)]
    outputs, seen = [], {}
    for token, vector in enumerate(x):
        h_depth, m_depth = np.split(vector @ weight + bias, 2)
        for layer in range(encoder.layers):
            own = min(layer, len(encoder.time) - 1)
            h_time, m_time = time_state[layer]
            h_time, m_time, gates = lstm(
                encoder.time[own], direction, np.concatenate([h_time, h_depth]), m_time
            )
            time_state[layer] = h_time, m_time
            named = {"time": {**gates, "memory": m_time, "hidden": h_time}}
            h_depth, m_depth, gates = lstm(
                encoder.depth[own], direction, np.concatenate([h_time, h_depth]), m_depth
            )
            named["depth"] = {**gates, "memory": m_depth, "hidden": h_depth}
            for way, numbers in named.items():
                for name, value in numbers.items():
                    seen[token, f"layer {layer + 1} {way} {name}"] = value
        outputs.append(h_depth)
    return np.array(outputs), seen


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_matches_loop_over_tokens_and_layers(layers, tied, bidirectional):
    """Return the outputs, and the recorded activations of each step."""
    encoder, x = built(layers=layers, tied=tied, bidirectional=bidirectional), sentences()
    with record_activations(encoder) as notes:
        outputs = encoder(x, LENGTHS).detach().numpy()
    assert outputs.shape == (4, 6, HIDDEN * (1 + bidirectional))
    for row, length in enumerate(LENGTHS):
        sentence = x[row, :length].numpy()
        ways = [sentence, sentence[::-1]][: 1 + bidirectional]
        for direction, way in enumerate(ways):
            expected, seen = loop(encoder, way, direction)
            for (token, name), value in seen.items():
                np.testing.assert_allclose(
                    notes[""][name][token][direction, row], value, atol=1e-12
                )
            expected = expected[::-1] if direction else expected
            actual = outputs[row, :length, direction * HIDDEN :][:, :HIDDEN]
            np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert set(notes[""]) == {name for _, name in seen}
    assert all(len(steps) == 6 for steps in notes[""].values())


def test_tied_layers_share_weights():
    def count(**options):
        return sum(
            p.numel()
            for name, p in built(**options).named_parameters()
            if not name.startswith("input")
        )

    assert (
        count(layers=3, tied=True)
        == count(layers=1, tied=True)
        == count(layers=1)
        == count(layers=3) / 3
    )


def test_initial_forget_bias():
    for bias in (1.0, -2.0):
        part = {"name": "grid_lstm", "hidden_size": HIDDEN, "layers": 2, "forget_bias": bias}
        encoder = ENCODERS.build(part, SIZE)
        for own in (*encoder.time, *encoder.depth):
            blocks = dict(zip(GATES, own.bias.detach().split(HIDDEN, dim=2), strict=True))
            assert (blocks.pop("forget") == bias).all()
            assert all((block == 0).all() for block in blocks.values())
