"""Cells against loops over the equations of their papers, one sentence and direction at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cell_cases import (
    FUNCTIONS,
    HIDDEN,
    LENGTHS,
    Weights,
    batch,
    both_ways,
    build_encoder,
    sigmoid,
)
from part_cases import label

from slotfill.config.registry import CELLS
from slotfill.model.recurrence import run_cell

# One direction of one sentence: from its vectors, in the order of reading, to the outputs.


def elman(w, xs, activation="tanh"):
    h = np.zeros(HIDDEN)
    for x in xs:
        h = FUNCTIONS[activation](x @ w("input_weight") + h @ w("recurrent_weight") + w("bias")[0])
        yield h


def gru(w, xs, reset="after"):
    h = np.zeros(HIDDEN)
    blocks = 2 if reset == "none" else 3
    *w_r, w_z, w_n = w("input_weight", blocks)
    *u_r, u_z, u_n = w("recurrent_weight", blocks)
    *b_r, b_z, b_n = w("bias", blocks)
    for x in xs:
        z = sigmoid(x @ w_z + h @ u_z + b_z[0])
        if reset == "none":
            n = np.tanh(x @ w_n + h @ u_n + b_n[0])
        else:
            r = sigmoid(x @ w_r[0] + h @ u_r[0] + b_r[0][0])
            if reset == "before":
                n = np.tanh(x @ w_n + (r * h) @ u_n + b_n[0])
            else:
                n = np.tanh(x @ w_n + b_n[0] + r * (h @ u_n + w("recurrent_bias")[0]))
        h = (1 - z) * n + z * h
        yield h


def lstm_lecture(
    w, xs, gate_activation="sigmoid", input_activation="sigmoid", output_activation="sigmoid"
):
    f, g, h = (FUNCTIONS[name] for name in (gate_activation, input_activation, output_activation))
    c = np.zeros(HIDDEN)
    for x in xs:
        z, z_i, z_f, z_o = np.split(x @ w("input_weight") + w("bias")[0], 4)
        c = g(z) * f(z_i) + c * f(z_f)
        yield h(c) * f(z_o)


def mut1(w, xs):
    w_z, w_r = w("input_weight", 2)
    b_z, b_r = w("bias", 2)
    u_r, u_n = w("recurrent_weight", 2)
    h = np.zeros(HIDDEN)
    for x in xs:
        bare = x @ w("input_projection") if len(x) != HIDDEN else x
        z = sigmoid(x @ w_z + b_z[0])
        r = sigmoid(x @ w_r + h @ u_r + b_r[0])
        h = np.tanh((r * h) @ u_n + np.tanh(bare) + w("candidate_bias")[0]) * z + h * (1 - z)
        yield h


def mut2(w, xs):
    w_z, w_n = w("input_weight", 2)
    b_z, b_n = w("bias", 2)
    u_z, u_r, u_n = w("recurrent_weight", 3)
    h = np.zeros(HIDDEN)
    for x in xs:
        bare = x @ w("input_projection") if len(x) != HIDDEN else x
        z = sigmoid(x @ w_z + h @ u_z + b_z[0])
        r = sigmoid(bare + h @ u_r + w("reset_bias")[0])
        h = np.tanh((r * h) @ u_n + x @ w_n + b_n[0]) * z + h * (1 - z)
        yield h


def mut3(w, xs):
    w_z, w_r, w_n = w("input_weight", 3)
    b_z, b_r, b_n = w("bias", 3)
    u_z, u_r, u_n = w("recurrent_weight", 3)
    h = np.zeros(HIDDEN)
    for x in xs:
        z = sigmoid(x @ w_z + np.tanh(h) @ u_z + b_z[0])
        r = sigmoid(x @ w_r + h @ u_r + b_r[0])
        h = np.tanh((r * h) @ u_n + x @ w_n + b_n[0]) * z + h * (1 - z)
        yield h


def candidates(p, kind):
    return np.where(p >= 0, p + 0.5, sigmoid(p)) if kind == "positive" else p


def mingru(w, xs, candidate="linear"):
    h = np.zeros(HIDDEN)
    for x in xs:
        z, n = np.split(x @ w("input_weight") + w("bias")[0], 2)
        h = (1 - sigmoid(z)) * h + sigmoid(z) * candidates(n, candidate)
        yield h


def minlstm(w, xs, candidate="linear"):
    h = np.zeros(HIDDEN)
    for x in xs:
        i, f, g = np.split(x @ w("input_weight") + w("bias")[0], 3)
        i, f = sigmoid(i), sigmoid(f)
        h = f / (f + i) * h + i / (f + i) * candidates(g, candidate)
        yield h


def sru(w, xs, peepholes=True, highway_bias=0.0):
    w_f, w_r, w_c = w("input_weight", 3)
    b_f, b_r = w("bias", 2)
    v_f, v_r = w("recurrent_weight", 2) if peepholes else (np.zeros((1, HIDDEN)),) * 2
    c = np.zeros(HIDDEN)
    for x in xs:
        bare = x @ w("input_projection") if len(x) != HIDDEN else x
        f = sigmoid(x @ w_f + v_f[0] * c + b_f[0])
        r = sigmoid(x @ w_r + v_r[0] * c + b_r[0])
        c = f * c + (1 - f) * (x @ w_c)
        yield r * c + (1 - r) * np.sqrt(1 + 2 * np.exp(highway_bias)) * bare


def qrnn(w, xs, window=2, pooling="fo"):
    gates = {"f": 2, "fo": 3, "ifo": 4}[pooling]
    weights = [w("input_weight")]
    if window > 1:
        weights += np.split(w("later_weight"), window - 1, axis=1)
    c = np.zeros(HIDDEN)
    for t in range(len(xs)):
        total = sum(xs[t - k] @ weight for k, weight in enumerate(weights[: t + 1])) + w("bias")[0]
        f, z, *rest = np.split(total, gates)
        f, (o, i) = sigmoid(f), [sigmoid(gate) for gate in [*rest, 0, 0][:2]]
        c = f * c + (i if pooling == "ifo" else 1 - f) * np.tanh(z)
        yield c if pooling == "f" else o * c


def indrnn(w, xs, activation="relu", max_recurrent_weight=1.0):
    u = np.clip(w("recurrent_weight")[0], -max_recurrent_weight, max_recurrent_weight)
    h = np.zeros(HIDDEN)
    for x in xs:
        h = FUNCTIONS[activation](x @ w("input_weight") + u * h + w("bias")[0])
        yield h


def lru(w, xs, output="glu"):
    b_real, b_imaginary, d = w("input_weight", 3)
    a = np.exp(-np.exp(w("log_decay")[0]) + 1j * np.exp(w("log_phase")[0]))
    c_real, minus_c_imaginary = np.split(w("memory_weight"), 2)
    c = np.zeros(HIDDEN, complex)
    for x in xs:
        c = a * c + np.exp(w("log_gain")[0]) * (x @ (b_real + 1j * b_imaginary))
        y = (c @ (c_real - 1j * minus_c_imaginary)).real + x @ d + w("bias")[0]
        if output == "linear":
            yield y
            continue
        gelu = y * (1 + np.vectorize(math.erf)(y / np.sqrt(2))) / 2
        value, gate = np.split(gelu @ w("glu_weight") + w("glu_bias")[0], 2)
        yield value * sigmoid(gate)


def slstm(w, xs, heads=1, forget_activation="sigmoid"):
    """Eq. 8-14 as they stand, without the stabilizer, in quadruple precision."""
    w_in, bias = w("input_weight").astype(np.longdouble), w("bias")[0].astype(np.longdouble)
    size = HIDDEN // heads
    blocks = np.split(w("recurrent_weight").astype(np.longdouble), heads)
    h, c, n = np.zeros((3, HIDDEN), np.longdouble)
    for x in xs:
        total = np.split(x @ w_in + bias, 4)
        for gate, part in enumerate(total):
            for head in range(heads):
                units = slice(head * size, (head + 1) * size)
                part[units] += h[units] @ blocks[head][:, gate * size : (gate + 1) * size]
        z, i, o = np.tanh(total[0]), np.exp(total[1]), sigmoid(total[3])
        f = np.exp(total[2]) if forget_activation == "exp" else sigmoid(total[2])
        c, n = f * c + i * z, f * n + i
        h = o * c / n
        yield h.astype(float)


def mlstm(w, xs, heads=4, norm=True):
    """Eq. 19-27 as they stand, without the stabilizer."""
    size = HIDDEN // heads
    memory, n = np.zeros((heads, size, size)), np.zeros((heads, size))
    for x in xs:
        q, k, v, o = np.split(x @ w("input_weight") + w("bias")[0], 4)
        gates = x @ w("gate_weight") + w("gate_bias")[0]
        i, f = np.exp(gates[:heads]), sigmoid(gates[heads:])
        read = []
        for head in range(heads):
            units = slice(head * size, (head + 1) * size)
            key = k[units] / np.sqrt(size)
            memory[head] = f[head] * memory[head] + i[head] * np.outer(v[units], key)
            n[head] = f[head] * n[head] + i[head] * key
            read.append(memory[head] @ q[units] / max(abs(n[head] @ q[units]), 1))
        if norm:
            read = [(h - h.mean()) / np.sqrt(h.var() + 1e-5) for h in read]
        h = np.concatenate(read)
        yield sigmoid(o) * (w("norm_weight")[0] * h + w("norm_bias")[0] if norm else h)


CASES = [
    *((elman, {"activation": name}) for name in FUNCTIONS),
    *((gru, {"reset": reset}) for reset in ("after", "before", "none")),
    (lstm_lecture, {}),
    *(
        (lstm_lecture, {f"{where}_activation": name})
        for where in ("gate", "input", "output")
        for name in ("tanh", "relu", "linear")
    ),
    (mut1, {}),
    (mut2, {}),
    (mut3, {}),
    *((cell, {"candidate": kind}) for cell in (mingru, minlstm) for kind in ("linear", "positive")),
    (sru, {}),
    (sru, {"peepholes": False, "highway_bias": -1.5}),
    (qrnn, {}),
    (qrnn, {"pooling": "f", "window": 3}),
    (qrnn, {"pooling": "ifo", "window": 1}),
    (indrnn, {"activation": "tanh"}),
    (indrnn, {"max_recurrent_weight": 0.5}),
    (lru, {}),
    (lru, {"output": "linear"}),
    *((slstm, {"heads": heads}) for heads in (1, 2)),
    (slstm, {"heads": 2, "forget_activation": "exp"}),
    *((mlstm, {"heads": heads, "norm": heads == 1}) for heads in (1, 3)),
]


@pytest.mark.parametrize("size", [3, HIDDEN])
@pytest.mark.parametrize(
    ("equations", "options"),
    [pytest.param(*c, id=label({"name": c[0].__name__, **c[1]})) for c in CASES],
)
def test_matches_equations(equations, options, size):
    encoder, (x, lengths) = (
        build_encoder({"name": equations.__name__, **options}, size),
        batch(size),
    )
    actual = encoder(x, lengths).detach().numpy()
    for sentence, length, row in zip(x.numpy(), LENGTHS, actual, strict=True):
        expected = both_ways(
            encoder.layers[0], sentence[:length], lambda w, xs: equations(w, xs, **options)
        )
        np.testing.assert_allclose(row[:length], expected, atol=1e-12, rtol=1e-12)
        assert (row[length:] == 0).all()


def test_gru_of_ng_has_the_opposite_sign_of_update():
    """In his notation: one matrix for [c, x] per gate, and an update gate that writes at 1."""
    encoder, (xs, _) = build_encoder({"name": "gru", "reset": "before"}, 3), batch(3)
    w = Weights(encoder.layers[0], 0)
    weights = [
        np.concatenate(pair).T
        for pair in zip(w("recurrent_weight", 3), w("input_weight", 3), strict=True)
    ]
    W_r, W_u, W_c = weights
    b_r, b_u, b_c = (bias[0] for bias in w("bias", 3))
    c, x = np.zeros(HIDDEN), xs[0].numpy()
    outputs = []
    for x_t in x:
        c_x = np.concatenate([c, x_t])
        relevance, update = sigmoid(W_r @ c_x + b_r), sigmoid(-W_u @ c_x - b_u)
        candidate = np.tanh(W_c @ np.concatenate([relevance * c, x_t]) + b_c)
        c = update * candidate + (1 - update) * c
        outputs.append(c)
    actual = encoder(xs[:1], torch.tensor([len(x)]))[0, :, :HIDDEN].detach().numpy()
    np.testing.assert_allclose(actual, outputs, atol=1e-12)


@pytest.mark.parametrize("name", ["mut1", "mut2"])
def test_input_projection_only_if_sizes_differ(name):
    names = [
        {parameter for parameter, _ in CELLS.build(name, size, 4).named_parameters()}
        for size in (3, 4)
    ]
    assert names[0] - names[1] == {"input_projection"} and names[0] > names[1]


@pytest.mark.parametrize(("reset", "products"), [("after", 3), ("before", 3), ("none", 2)])
def test_no_unused_weights(reset, products):
    gru = dict(CELLS.build({"name": "gru", "reset": reset}, 3, 4).named_parameters())
    assert ("recurrent_bias" in gru) == (reset == "after")
    assert gru["input_weight"].shape[2] == gru["recurrent_weight"].shape[2] == products * 4
    lecture = CELLS.build("lstm_lecture", 3, 4)
    assert {name for name, _ in lecture.named_parameters()} == {"input_weight", "bias"}


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    "part", [{"name": "slstm"}, {"name": "slstm", "forget_activation": "exp"}, {"name": "mlstm"}]
)
def test_exponential_gates_do_not_overflow(part, sign):
    """Pre-activations of hundreds, whose exponential is no number in single precision."""
    cell = CELLS.build(part, 3, HIDDEN)
    gates = cell.gate_bias if part["name"] == "mlstm" else cell.bias
    gates.detach().fill_(sign * 300.0)
    x = torch.randn(1, 40, 2, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    outputs = run_cell(cell, x)[0]
    slopes = torch.autograd.grad(outputs.sum(), [x, *cell.parameters()])
    assert all(tensor.isfinite().all() for tensor in (outputs, *slopes))
    with torch.inference_mode():
        torch.testing.assert_close(run_cell(cell, x)[0], outputs, atol=1e-5, rtol=1e-4)
