"""LSTM, GRU and Elman against torch's layers, to 1e-6; worked examples; initial weights."""

from __future__ import annotations

import pytest
import torch
from part_cases import randomize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from slotfill.config.registry import CELLS, ENCODERS
from slotfill.model.activations import record_activations
from slotfill.model.cells.base import Cell
from slotfill.model.recurrence import run_cell

LENGTHS = torch.tensor([9, 1, 4, 12, 7, 12])
INPUT, HIDDEN = 6, 5

# Which of our blocks of products stands in each place of torch's weights.
BLOCKS = {
    "lstm": ["input", "forget", "candidate", "output"],
    "gru": ["reset", "update", "candidate"],
    "elman": [None],
}
THEIRS = {
    "lstm": ("lstm", lambda *a, **k: torch.nn.LSTM(*a, **k)),
    "gru": ("gru", lambda *a, **k: torch.nn.GRU(*a, **k)),
    "elman": ("elman", lambda *a, **k: torch.nn.RNN(*a, nonlinearity="tanh", **k)),
    "elman relu": (
        {"name": "elman", "activation": "relu"},
        lambda *a, **k: torch.nn.RNN(*a, nonlinearity="relu", **k),
    ),
}


def as_torch(cell, name, direction, what):
    """Return torch's `weight_ih`, `weight_hh`, `bias_ih` or `bias_hh` from those of `cell`."""
    tensors = {
        "weight_ih": cell.input_weight,
        "weight_hh": cell.recurrent_weight,
        "bias_ih": cell.bias,
    }
    if what == "bias_hh":
        if name != "gru":
            return torch.zeros(len(BLOCKS[name]) * HIDDEN)
        return torch.cat([torch.zeros(2 * HIDDEN), cell.recurrent_bias[direction, 0]])
    blocks = dict(
        zip(cell.gates or [None], tensors[what][direction].split(HIDDEN, dim=-1), strict=True)
    )
    return torch.cat([blocks[gate] for gate in BLOCKS[name]], dim=-1).T.squeeze(-1)


def twins(which, bidirectional, layers):
    part, build = THEIRS[which]
    encoder = ENCODERS.build(
        {
            "name": "recurrent", "cell": part, "hidden_size": HIDDEN, "layers": layers,
            "bidirectional": bidirectional, "dropout": 0.0,
        },
        INPUT,
    )  # fmt: skip
    randomize(encoder, 1, HIDDEN**-0.5)
    torch_layer = build(INPUT, HIDDEN, layers, batch_first=True, bidirectional=bidirectional)
    cells = [module for module in encoder.modules() if isinstance(module, Cell)]
    places = []
    with torch.no_grad():
        for layer, cell in enumerate(cells):
            for direction in range(1 + bidirectional):
                for what in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    name = f"{what}_l{layer}{'_reverse' if direction else ''}"
                    getattr(torch_layer, name).copy_(
                        as_torch(cell, which.split()[0], direction, what)
                    )
                    places.append((name, cell, direction, what))
    return encoder, torch_layer, places


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("which", THEIRS)
def test_equals_torch(which, bidirectional, layers):
    encoder, torch_layer, places = twins(which, bidirectional, layers)
    x = torch.randn(
        len(LENGTHS), 12, INPUT, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    packed, _ = torch_layer(
        pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    )
    expected = pad_packed_sequence(packed, batch_first=True)[0]
    actual = encoder(x, LENGTHS)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)

    # The mean keeps gradients near 1, where 1e-6 is what float32 can hold.
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3)) / len(LENGTHS)
    (x_wanted,) = torch.autograd.grad((expected * weights).sum(), x, retain_graph=True)
    (expected * weights).sum().backward(inputs=list(torch_layer.parameters()))
    (x_found,) = torch.autograd.grad((actual * weights).sum(), x, retain_graph=True)
    (actual * weights).sum().backward(inputs=list(encoder.parameters()))
    torch.testing.assert_close(x_found, x_wanted, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        for cell in {cell for _, cell, _, _ in places}:
            for parameter in cell.parameters():
                parameter.copy_(parameter.grad)
    for name, cell, direction, what in places:
        # Where torch has two biases for our one, both get the same gradient.
        ours = as_torch(
            cell,
            which.split()[0],
            direction,
            "bias_ih" if what == "bias_hh" and which != "gru" else what,
        )
        gradient = getattr(torch_layer, name).grad
        if which == "gru" and what == "bias_hh":
            ours, gradient = ours[-HIDDEN:], gradient[-HIDDEN:]
        torch.testing.assert_close(
            ours, gradient, atol=2e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_elman_worked_example():
    """With all weights 1, no bias and linear units the hidden state depends on the input order."""
    cell = CELLS.build({"name": "elman", "activation": "linear"}, 2, 2)
    output = torch.nn.Linear(2, 2)
    with torch.no_grad():
        for parameter in (*cell.parameters(), *output.parameters()):
            parameter.fill_(1.0)
        cell.bias.zero_()
        output.bias.zero_()

    def ran(*inputs):
        hidden = run_cell(cell, torch.tensor(inputs, dtype=torch.float).view(1, 3, 1, 2))[0][
            0, :, 0
        ]
        return hidden.tolist(), output(hidden).tolist()

    assert ran([1, 1], [1, 1], [2, 2]) == ([[2, 2], [6, 6], [16, 16]], [[4, 4], [12, 12], [32, 32]])
    assert ran([1, 1], [2, 2], [1, 1]) == ([[2, 2], [8, 8], [18, 18]], [[4, 4], [16, 16], [36, 36]])


X1 = [1, 3, 2, 4, 2, 1, 3, 6, 1]
X2 = [0, 1, 0, 1, 0, 0, -1, 1, 0]
X3 = [0, 0, 0, 0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize(("sharp", "within"), [(1, 1e-2), (10, 1e-6)])
def test_lecture_lstm_worked_example(sharp, within):
    """x2 = 1 adds x1 to the memory, x2 = -1 clears it, x3 = 1 lets it out."""
    part = {"name": "lstm_lecture", "input_activation": "linear", "output_activation": "linear"}
    cell = CELLS.build(part, 3, 1).double()
    weights = {
        "candidate": [1, 0, 0, 0],
        "input": [0, 100, 0, -10],
        "forget": [0, 100, 0, 10],
        "output": [0, 0, 100, -10],
    }
    with torch.no_grad():
        for column, gate in enumerate(cell.gates):
            *weight, bias = torch.tensor(weights[gate], dtype=torch.float64) * (
                1 if gate == "candidate" else sharp
            )
            cell.input_weight[0, :, column] = torch.stack(weight)
            cell.bias[0, 0, column] = bias
        x = torch.tensor([X1, X2, X3], dtype=torch.float64).T
        with record_activations(cell) as notes:
            outputs = run_cell(cell, x.view(1, 9, 1, 3))[0].flatten()
    assert outputs.tolist() == pytest.approx([0, 0, 0, 0, 0, 7, 0, 0, 6], abs=within)
    memory = torch.stack(notes[""]["memory"]).flatten()
    assert memory.tolist() == pytest.approx([0, 3, 3, 7, 7, 7, 0, 6, 6], abs=within)


@pytest.mark.parametrize("name", BLOCKS)
def test_initial_weights(name):
    torch.manual_seed(1)
    cell = CELLS.build(name, 20, 8, 2)
    for direction in range(2):
        for block in cell.recurrent_weight.detach()[direction].split(8, dim=1):
            torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)
        assert 0 < cell.input_weight[direction].abs().max() <= (6 / 28) ** 0.5
    assert not torch.equal(cell.recurrent_weight[0], cell.recurrent_weight[1])


@pytest.mark.parametrize("bias", [1.0, -2.5])
@pytest.mark.parametrize("name", ["lstm", "minlstm", "mingru", "qrnn", "sru"])
def test_bias_of_the_gate_that_forgets(name, bias):
    gate, option = ("update", "gate_bias") if name == "mingru" else ("forget", "forget_bias")
    cell = CELLS.build({"name": name, option: bias}, 3, 4, 2)
    # The candidate of SRU comes last, and has no bias.
    blocks = dict(zip(cell.gates, cell.bias.split(4, dim=-1), strict=name != "sru"))
    assert (blocks.pop(gate) == bias).all()
    assert all((block == 0).all() for block in blocks.values())


def test_every_cell_computes_in_bfloat16():
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1))
    for name in CELLS.names():
        torch.manual_seed(1)
        cell = CELLS.build(name, 4, 8, 2).eval()
        expected = run_cell(cell, x)[0]
        with torch.autocast("cpu", torch.bfloat16):
            actual = run_cell(cell, x)[0]
        actual.float().sum().backward()
        gradients = [parameter.grad for parameter in cell.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        torch.testing.assert_close(actual.float(), expected, atol=0.05, rtol=0.05)
