"""Linear recurrences: the loop, the parallel scan and the definition agree; so do gradients."""

from __future__ import annotations

import pytest
import torch

from slotfill.config.registry import CELLS
from slotfill.model.linear_recurrence import linear_scan, scan_in_loop, scan_in_parallel
from slotfill.model.recurrence import run_cell


def by_definition(a, b):
    c, outputs = torch.zeros_like(b[:, 0]), []
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        c = a_t * c + b_t
        outputs.append(c)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("method", [scan_in_loop, scan_in_parallel])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("time", [1, 2, 12, 200])
def test_scans_and_their_gradients_equal_the_definition(method, dtype, time):
    generator = torch.Generator().manual_seed(1)
    shape = (2, time, 3, 4)
    # From 0, as of a closed gate, to 1, so that products of all steps vanish.
    a = torch.rand(shape, generator=generator)
    a = a.where(a > 0.1, 0.0).to(dtype)
    a[..., 0] = 1 if dtype.is_floating_point else 1j
    b = torch.randn(shape, generator=generator, dtype=dtype)
    weights = torch.randn(shape, generator=generator, dtype=dtype) / time
    a.requires_grad_()
    b.requires_grad_()
    results = []
    for c in (linear_scan(a, b, method), by_definition(a, b)):
        results.append([c, *torch.autograd.grad((c * weights).sum().abs(), [a, b])])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_cells_equal_their_steps_over_long_sentences():
    """In single precision, where coefficients of all 200 steps together underflow."""
    for name in ("mingru", "minlstm", "qrnn", "lru", {"name": "sru", "peepholes": False}):
        torch.manual_seed(1)
        cell = CELLS.build(name, 3, 4, 2)
        x = torch.randn(2, 200, 2, 3)
        at_once = run_cell(cell, x)[0]
        cell.forward_sequence = lambda x: None
        torch.testing.assert_close(at_once, run_cell(cell, x)[0], atol=1e-5, rtol=1e-5)


def test_the_memory_of_indrnn_and_lru_cannot_explode():
    for name in ("indrnn", "lru"):
        cell = CELLS.build(name, 3, 4)
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.uniform_(-2, 2)
            outputs = run_cell(cell, torch.ones(1, 2000, 1, 3))[0]
        assert outputs.isfinite().all() and outputs.abs().max() < 1e5


def test_closed_gates_of_minlstm_are_equal_shares():
    cell = CELLS.build("minlstm", 3, 4)
    with torch.no_grad():
        cell.bias[..., :8] = -200
    outputs = run_cell(cell, torch.randn(1, 5, 2, 3))[0]
    outputs.sum().backward()
    assert outputs.isfinite().all() and cell.input_weight.grad.isfinite().all()
