"""Variants of the LSTM against ONNX Runtime's operator and the equations."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from part_cases import label, randomize, variants

from slotfill.config.registry import CELLS
from slotfill.errors import ConfigError
from slotfill.model.activations import record_activations
from slotfill.model.recurrence import run_cell

TIME, BATCH, INPUT, HIDDEN = 7, 3, 4, 5

GREFF = {
    "vanilla": {"peepholes": "all"},
    "no input gate": {"peepholes": "all", "input_gate": False},
    "no forget gate": {"peepholes": "all", "forget_gate": False},
    "no output gate": {"peepholes": "all", "output_gate": False},
    "no input activation": {"peepholes": "all", "input_activation": "linear"},
    "no output activation": {"peepholes": "all", "output_activation": "linear"},
    "no peepholes": {},
    "coupled": {"peepholes": "all", "coupled": True},
    "full gate recurrence": {"peepholes": "all", "gate_recurrence": True},
}
MORE = {
    "relevance": {"relevance_gate": True},
    "relevance and all": {"relevance_gate": True, "peepholes": "all", "gate_recurrence": True},
    "relevance, nothing else": {
        "relevance_gate": True, "input_gate": False, "forget_gate": False, "output_gate": False,
    },
    "coupled, no output gate, gate recurrence": {
        "coupled": True, "output_gate": False, "gate_recurrence": True,
    },
    "as Ng": {
        "relevance_gate": "before", "peepholes": "previous", "output_activation": "linear",
    },
    "no gates": {"input_gate": False, "forget_gate": False, "output_gate": False},
}  # fmt: skip


def lstm(options, directions=2):
    cell = CELLS.build({"name": "lstm", **options}, INPUT, HIDDEN, directions).double()
    randomize(cell, 3)
    x = torch.randn(
        directions,
        TIME,
        BATCH,
        INPUT,
        generator=torch.Generator().manual_seed(4),
        dtype=torch.float64,
    )
    return cell, x


def blocks(cell, tensor):
    """The cell's `tensor` of one direction, cut into its products, by name."""
    return dict(
        zip(cell.gates, np.split(tensor.detach().numpy(), len(cell.gates), axis=-1), strict=True)
    )


# ONNX operator


def onnx_lstm(cell, x, *, coupled):
    """Return the outputs `(time, batch, hidden)` of ONNX's LSTM operator with a cell's weights."""
    names = ("input", "output", "forget", "candidate")
    zeros = {"forget": 0.0} if coupled else {}

    def stacked(tensor):
        parts = blocks(cell, tensor)
        parts |= {name: np.zeros_like(parts["input"]) for name in zeros}
        return np.concatenate([parts[name] for name in names], axis=-1).astype(np.float32)

    weights = {
        "W": stacked(cell.input_weight).transpose(0, 2, 1),
        "R": stacked(cell.recurrent_weight).transpose(0, 2, 1),
        "B": np.pad(stacked(cell.bias)[:, 0], ((0, 0), (0, 4 * HIDDEN))),
    }
    inputs = ["x", "W", "R", "B", "", "", ""]
    if len(cell.peepholes):
        order = ("input", "output", "forget")
        none = torch.zeros(1, 1, HIDDEN)
        actual = [cell.peepholes.get(name, none) for name in order]
        weights["P"] = torch.cat(actual, dim=2)[:, 0].detach().numpy().astype(np.float32)
        inputs.append("P")
    node = helper.make_node("LSTM", inputs, ["y"], hidden_size=HIDDEN, input_forget=int(coupled))
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [TIME, BATCH, INPUT])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [TIME, 1, BATCH, HIDDEN])],
        [
            helper.make_tensor(
                name,
                TensorProto.FLOAT,
                value.shape,
                np.ascontiguousarray(value).tobytes(),
                raw=True,
            )
            for name, value in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x.numpy().astype(np.float32)})[0][:, 0]


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(
    "peepholes", ["none", "all", ["input"], ["output"], ["input", "output"]], ids=str
)
def test_matches_onnx_runtime(peepholes, coupled):
    cell, x = lstm({"peepholes": peepholes, "coupled": coupled}, directions=1)
    outputs, _ = run_cell(cell, x)
    np.testing.assert_allclose(
        outputs[0].detach().numpy(), onnx_lstm(cell, x[0], coupled=coupled), atol=2e-6
    )


@pytest.mark.parametrize("peepholes", [["forget"], ["input", "forget"]], ids=str)
def test_forget_peephole_matches_onnx_runtime(peepholes):
    cell, x = lstm({"peepholes": peepholes}, directions=1)
    outputs, _ = run_cell(cell, x)
    np.testing.assert_allclose(
        outputs[0].detach().numpy(), onnx_lstm(cell, x[0], coupled=False), atol=2e-6
    )


# Equations

ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
}


def naive(cell, x, direction, options):
    """Return the outputs `(time, hidden)` of a sentence `(time, input)` by the equations."""
    sigmoid = ACTIVATIONS["sigmoid"]
    w, u, b = (
        blocks(cell, t[direction]) for t in (cell.input_weight, cell.recurrent_weight, cell.bias)
    )
    p = {name: weight[direction, 0].detach().numpy() for name, weight in cell.peepholes.items()}
    recurrent = [name for name in ("input", "forget", "output") if name in cell.gates]
    if options.get("gate_recurrence"):
        cut = np.split(cell.gate_weight[direction].detach().numpy(), len(recurrent), axis=0)
        between = {
            a: dict(zip(recurrent, np.split(rows, len(recurrent), axis=1), strict=True))
            for a, rows in zip(recurrent, cut, strict=True)
        }
    h, c = np.zeros(HIDDEN), np.zeros(HIDDEN)
    before = {name: np.zeros(HIDDEN) for name in recurrent}
    outputs = []
    for x_t in x:

        def gate(name, memory, x_t=x_t, h=h, before=before):
            if name not in cell.gates:
                return np.ones(HIDDEN)
            total = x_t @ w[name] + h @ u[name] + b[name][0]
            if name in p:
                total = total + p[name] * memory
            if options.get("gate_recurrence") and name in recurrent:
                total = total + sum(before[other] @ between[other][name] for other in recurrent)
            return sigmoid(total)

        i, f, r = gate("input", c), gate("forget", c), gate("relevance", c)
        if options.get("coupled"):
            f = 1 - i
        if options.get("relevance_gate") == "before":
            seen = (r * h) @ u["candidate"]
        else:
            seen = r * (h @ u["candidate"])
        g = x_t @ w["candidate"] + seen + b["candidate"][0]
        g = ACTIVATIONS[options.get("input_activation", "tanh")](g)
        previous, c = c, f * c + i * g
        o = gate("output", previous if options.get("peepholes") == "previous" else c)
        h = o * ACTIVATIONS[options.get("output_activation", "tanh")](c)
        values = {"input": i, "forget": f, "output": o}
        before = {name: values[name] for name in recurrent}
        outputs.append(h)
    return np.array(outputs)


CASES = [
    *GREFF.values(),
    *MORE.values(),
    *({**part, "name": "lstm"} for part in variants("cell", "lstm")),
]


@pytest.mark.parametrize("options", CASES, ids=lambda options: label({"name": "lstm", **options}))
def test_matches_equations(options):
    options = {key: value for key, value in options.items() if key != "name"}
    cell, x = lstm(options)
    outputs, _ = run_cell(cell, x)
    for direction in range(2):
        for sentence in range(BATCH):
            expected = naive(cell, x[direction, :, sentence].numpy(), direction, options)
            np.testing.assert_allclose(
                outputs[direction, :, sentence].detach().numpy(), expected, atol=1e-12
            )


def test_matches_the_equations_of_ng():
    """In his notation: one matrix for [a, x] per gate, peepholes, relevance gate and a = o * c."""
    cell, x = lstm(MORE["as Ng"], directions=1)
    parts = [blocks(cell, weight[0]) for weight in (cell.recurrent_weight, cell.input_weight)]
    W = {name: np.concatenate([part[name] for part in parts]).T for name in cell.gates}
    b = {name: value[0] for name, value in blocks(cell, cell.bias[0]).items()}
    p = {name: weight[0, 0].detach().numpy() for name, weight in cell.peepholes.items()}
    sigmoid = ACTIVATIONS["sigmoid"]
    a, c, outputs = np.zeros(HIDDEN), np.zeros(HIDDEN), []
    for x_t in x[0, :, 0].numpy():
        a_x = np.concatenate([a, x_t])
        update, forget, output = (
            sigmoid(W[name] @ a_x + p[name] * c + b[name]) for name in ("input", "forget", "output")
        )
        relevance = sigmoid(W["relevance"] @ a_x + b["relevance"])
        candidate = np.tanh(W["candidate"] @ np.concatenate([relevance * a, x_t]) + b["candidate"])
        c = update * candidate + forget * c
        a = output * c
        outputs.append(a)
    actual = run_cell(cell, x)[0][0, :, 0].detach().numpy()
    np.testing.assert_allclose(actual, outputs, atol=1e-12)


@pytest.mark.parametrize("options", [*GREFF.values(), *MORE.values()], ids=[*GREFF, *MORE])
def test_gradient_matches_numerical(options):
    cell, x = lstm(options)
    inputs = (x[:, :3].detach().requires_grad_(), *cell.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: run_cell(cell, x)[0], inputs, fast_mode=True)


@pytest.mark.parametrize("gate", ["input", "forget", "output"])
def test_peepholes_are_diagonal(gate):
    """The input and forget gates see the old memory, the output gate the new."""
    cell, x = lstm({"peepholes": [gate]}, directions=1)
    projected = cell.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3])[:, 0]

    def open_run(memory):
        with record_activations(cell) as notes:
            cell.step(projected, (torch.zeros_like(memory), memory))
        return {name: notes[""][name][0] for name in (*cell.gates, "memory")}

    memory = torch.randn(
        1, BATCH, HIDDEN, generator=torch.Generator().manual_seed(6), dtype=torch.float64
    )
    moved = memory.clone()
    moved[..., 2] += 1
    before, after = open_run(memory), open_run(moved)
    others = [0, 1, 3, 4]
    for name in ("input", "forget", "output"):
        assert torch.equal(before[name][..., others], after[name][..., others])
        assert torch.equal(before[name][..., 2], after[name][..., 2]) == (name != gate)
    if gate == "output":
        # With a new memory that is the same, so is the gate, whatever the old one was.
        old = torch.zeros_like(memory)
        old[..., 2] = (before["memory"] - before["input"] * before["candidate"])[..., 2] / before[
            "forget"
        ][..., 2]
        assert torch.allclose(open_run(old)["output"][..., 2], before["output"][..., 2])


def test_coupled_gates_sum_to_one():
    cell, x = lstm({"coupled": True}, directions=1)
    with record_activations(cell) as notes:
        run_cell(cell, x)
    memory = torch.zeros(1, BATCH, HIDDEN, dtype=torch.float64)
    for i, g, c in zip(
        *(notes[""][name] for name in ("input", "candidate", "memory")), strict=True
    ):
        torch.testing.assert_close(c, memory + i * (g - memory))
        memory = c
    assert "forget" not in cell.gates


def test_forget_bias_of_coupled_gates():
    for options, gate, bias in (({}, "forget", 2.5), ({"coupled": True}, "input", -2.5)):
        cell = CELLS.build({"name": "lstm", "forget_bias": 2.5, **options}, INPUT, HIDDEN, 2)
        named = dict(zip(cell.gates, cell.bias.split(HIDDEN, dim=-1), strict=True))
        assert (named.pop(gate) == bias).all()
        assert all((block == 0).all() for block in named.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"coupled": True, "forget_gate": False},
            "cell.coupled: needs both input_gate and forget_gate",
        ),
        (
            {"peepholes": ["forget"], "coupled": True},
            "cell.peepholes: there is no forget gate here (there are: input, output)",
        ),
        (
            {
                "gate_recurrence": True,
                "input_gate": False,
                "forget_gate": False,
                "output_gate": False,
            },
            "cell.gate_recurrence: needs at least one gate",
        ),
    ],
)
def test_conflicting_gate_options_are_errors(options, message):
    with pytest.raises(ConfigError) as error:
        CELLS.build({"name": "lstm", **options}, INPUT, HIDDEN)
    assert str(error.value) == message
