"""Cells on a GPU: torch's layers and compiled steps compute the same as the loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from slotfill.config.registry import CELLS
from slotfill.model.recurrence import compile_steps, run_cell, run_torch_layer

FUSED = [
    "lstm",
    {"name": "lstm", "forget_bias": 0.5},
    "gru",
    "elman",
    {"name": "elman", "activation": "relu"},
]
LOOPED = [
    {"name": "lstm", "peepholes": "all"},
    {"name": "lstm", "coupled": True},
    {"name": "lstm", "coupled": True, "peepholes": "all"},
    {"name": "lstm", "input_gate": False},
    {"name": "lstm", "output_activation": "sigmoid"},
    {"name": "gru", "reset": "before"},
    {"name": "elman", "activation": "sigmoid"},
    "mut1",
    "clockwork",
]


def built(part):
    torch.manual_seed(1)
    cell = CELLS.build(part, 5, 4, 2)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.uniform_(-1, 1)
    return cell, torch.randn(2, 7, 3, 5, requires_grad=True)


def gradients(outputs, cell, x):
    return torch.autograd.grad(
        (outputs * torch.linspace(-1, 1, outputs.numel()).view_as(outputs)).sum(),
        [x, *cell.parameters()],
    )


@pytest.mark.parametrize("part", FUSED, ids=str)
def test_a_layer_of_torch_equals_the_cell(part):
    cell, x = built(part)
    actual = run_torch_layer(cell, x)
    with torch.no_grad():
        steps = run_cell(cell, x.detach())[0]
    torch.testing.assert_close(actual, steps)
    expected = run_cell(cell, x)[0]
    for computed, reference in zip(
        gradients(actual, cell, x), gradients(expected, cell, x), strict=True
    ):
        torch.testing.assert_close(computed, reference, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("part", LOOPED, ids=str)
def test_cells_that_no_layer_of_torch_computes(part):
    assert run_torch_layer(*built(part)) is None


@pytest.mark.parametrize("part", [*FUSED, *LOOPED], ids=str)
def test_weights_of_a_layer_are_on_the_device_of_the_cell(part):
    operator = built(part)[0].to("meta").onnx_operator()
    if operator is not None:
        weights = (*operator.weights(), operator.peepholes)
        assert {weight.device.type for weight in weights if weight is not None} == {"meta"}


@pytest.mark.slow
def test_the_script_that_measures_a_gpu_works(tmp_path):
    root, out = Path(__file__).parents[2], tmp_path / "gpu.json"
    words = ("benchmarks/gpu.py", "--device", "cpu", "--quick", "--out", str(out))
    subprocess.run([sys.executable, *words], cwd=root, check=True, stdout=subprocess.DEVNULL)
    figures = json.loads(out.read_text())
    assert figures["training"]["taipei"]["two cores"]["seconds_to_best"] > 0
    assert list(figures["cells"]["4"]) == ["torch nn.LSTM", "lstm", "mut1"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
@pytest.mark.parametrize("part", [LOOPED[0], "mut1", "clockwork"], ids=str)
def test_a_compiled_step_equals_the_cell(part, monkeypatch):
    cell, x = built(part)
    expected = run_cell(cell, x)[0]
    by_loop = gradients(expected, cell, x)
    plain = cell.step
    compile_steps(cell)
    # A step that cannot be compiled is an error here.
    monkeypatch.setattr("torch._dynamo.config.suppress_errors", False)
    assert cell.step is not plain and list(cell.state_dict()) == [
        name for name, _ in cell.named_parameters()
    ]
    actual = run_cell(cell, x)[0]
    torch.testing.assert_close(actual, expected)
    for computed, reference in zip(gradients(actual, cell, x), by_loop, strict=True):
        torch.testing.assert_close(computed, reference, atol=1e-5, rtol=1e-4)
