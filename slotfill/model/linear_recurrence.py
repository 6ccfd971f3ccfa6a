"""Cells whose next memory is linear in the memory, so that all steps can be computed at once.

    c_t = a_t * c_{t-1} + b_t,  c_0 = 0        a_t and b_t depend on the input only
    dL/db_t = g_t = dL/dh_t dh_t/dc_t + a_{t+1} * g_{t+1}
    dL/da_t = g_t * c_{t-1}

A loop over time has one operation in a step, forward and backward, and everything else is computed
for all steps at once. A parallel scan has log2(time) operations, each over all steps. It multiplies
coefficients and never divides, so it neither overflows nor loses precision where their product
vanishes. On a CPU the loop is faster, for short and long sentences (benchmarks/cells.py); on a GPU,
whose time is that of the number of operations, the scan is used.

Source: Hillis & Steele 1986, "Data Parallel Algorithms"; Martin & Cundy 2018, "Parallelizing
Linear Recurrent Neural Nets Over Sequence Length"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import has_torch_function

from slotfill.model.cells.base import Cell, State
from slotfill.model.recurrence import scan

ScanMethod = Callable[[Tensor, Tensor, bool], Tensor]
"""`scan_in_loop` or `scan_in_parallel`."""


class LinearCell(Cell):
    """A cell with one memory c_t = a_t * c_{t-1} + b_t and gates that do not see it.

    `coefficients` and `output` are defined for one step or for all, so with any number of axes
    between the direction and the units.
    """

    def coefficients(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and b, `(direction, ..., hidden)`."""
        raise NotImplementedError

    def output(self, projected: Tensor, memory: Tensor) -> Tensor:
        """Return the output `(direction, ..., hidden)` of steps; by default the memory."""
        return memory

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output, and c_t as the state."""
        (c,) = state
        a, b = self.coefficients(projected)
        c = torch.addcmul(b, a, c)
        return self.output(projected, c), (c,)

    def forward_projected(self, projected: Tensor) -> Tensor:
        """Return the outputs of all steps; `projected` is `(direction, time, batch, ...)`."""
        return self.output(projected, linear_scan(*self.coefficients(projected)))

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        return self.forward_projected(self.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3]))


def linear_scan(a: Tensor, b: Tensor, method: ScanMethod | None = None) -> Tensor:
    """Return c of all steps; all three are `(direction, time, batch, size)`.

    `method` is the loop on a CPU and the parallel scan on other devices, unless it is given.
    """
    if has_torch_function((a, b)):
        # The exporter: only the recurrence itself is in the loop of the ONNX model.
        size = b.shape[3]

        def step(coefficients: Tensor, state: State) -> tuple[State, State]:
            a, b = coefficients.split(size, dim=2)
            c = torch.addcmul(b, a, state[0])
            return (c,), (c,)

        return scan(step, torch.cat((a, b), dim=3), (torch.zeros_like(b[:, 0]),))[0]
    if method is None:
        method = scan_in_loop if b.device.type == "cpu" else scan_in_parallel
    c: Tensor = _LinearScan.apply(a[:, 1:], b, method)
    return c


class _LinearScan(torch.autograd.Function):
    """From the coefficients between steps, one fewer than steps, and b to c."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, method: ScanMethod) -> Tensor:
        c = method(a, b, False)
        ctx.save_for_backward(a, c)
        ctx.method = method
        return c

    @staticmethod
    def backward(ctx: Any, dc: Tensor) -> tuple[Tensor, Tensor, None]:
        """Run the same recurrence from the last step to the first."""
        a, c = ctx.saved_tensors
        db = ctx.method(a.conj(), dc, True)
        return db[:, 1:] * c[:, :-1].conj(), db, None


def scan_in_loop(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    """Return c step by step, from the last to the first if `reverse`.

    `a` has the coefficients between steps, one fewer than steps.
    """
    c = torch.empty_like(b)
    a_steps, b_steps, c_steps = (tensor.unbind(1)[:: -1 if reverse else 1] for tensor in (a, b, c))
    c_steps[0].copy_(b_steps[0])
    for a_t, b_t, before, after in zip(a_steps, b_steps[1:], c_steps, c_steps[1:]):  # noqa: B905
        torch.addcmul(b_t, a_t, before, out=after)
    return c


def scan_in_parallel(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    """Return what `scan_in_loop` does, by operations over all steps whose number is log2(time).

    After each operation, c has the terms of twice as many steps, and a_t is the product of as many.
    """
    if reverse:
        return scan_in_parallel(a.flip(1), b.flip(1), False).flip(1)
    c, distance = b, 1
    while distance < b.shape[1]:
        later = torch.addcmul(c[:, distance:], a, c[:, :-distance])
        c = torch.cat((c[:, :distance], later), dim=1)
        a = a[:, distance:] * a[:, :-distance]
        distance *= 2
    return c
