"""Contracts of cells."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slotfill.config.registry import (
    CELLS,
)
from slotfill.lab.contracts.requirements import (
    Contract,
    Part,
    require,
    require_arguments,
    require_equal,
    require_grad,
    require_gradient,
    require_pair,
    require_result,
    require_shape,
    require_tensor,
    require_type,
)
from slotfill.lab.contracts.samples import (
    HIDDEN,
    INPUT,
    randomize,
)
from slotfill.model.activations import record_activations
from slotfill.model.cells.base import Cell
from slotfill.model.recurrence import run_cell


def _build_cell(part: Part, directions: int) -> Cell:
    cell: Cell = CELLS.build(part, INPUT, HIDDEN, directions).double().eval()
    randomize(cell, 1)
    return cell


def _cell_inputs(directions: int, time: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (directions, time, 2, INPUT)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _run(cell: Cell, x: Tensor) -> Tensor:
    return run_cell(cell, x)[0]


def _stepwise(cell: Cell, x: Tensor) -> Tensor:
    """Return the outputs, computed one step at a time, with all shapes and types checked."""
    directions, time, batch, size = x.shape
    rows = x.reshape(directions, time * batch, size)
    require_arguments(cell.project, [rows], "x")
    projected = cell.project(rows)
    is_tensor = isinstance(projected, Tensor)
    found = tuple(projected.shape) if is_tensor else type(projected).__name__
    require_result(
        is_tensor and projected.dim() == 3 and projected.shape[:2] == rows.shape[:2],
        f"project() must return ({directions}, {time * batch}, size) for {tuple(rows.shape)},"
        f" found {found}",
    )
    require_type(projected, x, "the output of project()")
    projected = projected.view(directions, time, batch, -1)
    require_arguments(cell.initial_state, [projected[:, 0]], "projected")
    state = cell.initial_state(projected[:, 0])
    _require_state(state, "the state of initial_state()")
    for tensor in state:
        if tensor.is_floating_point():
            require_type(tensor, x, "the state of initial_state()")
    require_arguments(cell.step, [projected[:, 0], state], "projected and state")
    first = [(tuple(tensor.shape), tensor) for tensor in state]
    outputs = []
    for step in range(time):
        result = cell.step(projected[:, step], state)
        require_pair(result, "step()", "the output and the next state")
        h, state = result
        name = "the output of step()"
        require_tensor(h, (directions, batch, cell.hidden_size), x, name)
        _require_state(state, "the next state of step()")
        before = [shape for shape, _ in first]
        after = [tuple(tensor.shape) for tensor in state]
        message = f"step() must keep the shapes of the state, {before}, found {after}"
        require_result(after == before, message)
        for tensor, (_, like) in zip(state, first, strict=True):
            require_type(tensor, like, "the next state of step()")
        if x.requires_grad:
            require_grad(h, name)
            numbers = [tensor for tensor in state if tensor.is_floating_point()]
            kept = any(tensor.requires_grad for tensor in numbers)
            # A state that is never changed, as of a cell without one, needs no gradient.
            if not kept and any((tensor != 0).any() for tensor in numbers):
                require_grad(numbers[0], "the next state of step()")
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def _require_state(state: Any, name: str) -> None:
    is_tuple = isinstance(state, tuple)
    found = type(state).__name__
    if is_tuple and state:
        found = f"a tuple of {type(state[0]).__name__}"
    is_state = is_tuple and all(isinstance(tensor, Tensor) for tensor in state)
    require_result(is_state, f"{name} must be a tuple of tensors, as (h,), found {found}")


def cell_has_the_documented_shapes(part: Part) -> None:
    """In the precision of training, and in 64 bits, in which the other contracts are checked."""
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        _stepwise(cell.float(), x.float().requires_grad_())
        _stepwise(cell.double(), x)


def cell_computes_sequences_as_steps(part: Part) -> None:
    """With and without gradients, where `forward_sequence` may use different code."""
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions).requires_grad_()
        expected = _stepwise(cell, x)
        generator = torch.Generator().manual_seed(3)
        weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
        parameters = [x, *cell.parameters()]
        gradients = torch.autograd.grad(
            (expected * weights).sum(), parameters, materialize_grads=True
        )
        outputs = _run(cell, x)
        message = "a sequence at once differs from its steps"
        require_equal(outputs, expected, message)
        actual = torch.autograd.grad((outputs * weights).sum(), parameters, materialize_grads=True)
        for computed, reference in zip(actual, gradients, strict=True):
            require_equal(computed, reference, f"the gradient of {message}", 1e-11)
        with torch.inference_mode():
            require_equal(_run(cell, x), expected, f"without gradients, {message}")


def cell_has_independent_directions(part: Part) -> None:
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        together = _run(cell, x)
        for direction in range(directions):
            alone = _build_cell(part, 1)
            with torch.no_grad():
                for one, both in zip(alone.parameters(), cell.parameters(), strict=True):
                    found = tuple(both.shape)
                    require(
                        found == (directions, *one.shape[1:]),
                        f"the first axis of a weight must be the direction, found {found}",
                    )
                    one.copy_(both[direction : direction + 1])
            outputs = _run(alone, x[direction : direction + 1])
            message = "a direction depends on the other"
            require_equal(outputs[0], together[direction], message)


def cell_is_independent_of_the_batch_and_of_later_steps(part: Part) -> None:
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        full = _run(cell, x)
        message = "a sentence depends on the others of the batch"
        require_equal(_run(cell, x[:, :, :1]), full[:, :, :1], message)
        for time in (1, 3):
            message = "an output depends on later steps"
            require_equal(_run(cell, x[:, :time]), full[:, :time], message)


def cell_records_its_gates(part: Part) -> None:
    """Every gate and the output are recorded at each step, and only on request."""
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions)
        with record_activations(cell) as activations:
            outputs = _run(cell, x)
        recorded = activations[""]
        for gate in cell.gates:
            require(gate in recorded, f"step() must record '{gate}', which `gates` names")
            for tensor in recorded[gate]:
                require_shape(tensor, (directions, 2, HIDDEN), f"the recorded '{gate}'")
            count = len(recorded[gate])
            require(count == 4, f"'{gate}' must be recorded once a step, not {count} in 4 steps")
        stacked = torch.stack(recorded["hidden"], dim=1)
        require_equal(stacked, outputs, "what is recorded as 'hidden' is not the output")
        _run(cell, x)
        require(len(recorded["hidden"]) == 4, "activations are recorded unasked")


def cell_has_the_numerical_gradient(part: Part) -> None:
    for directions in (1, 2):
        cell, x = _build_cell(part, directions), _cell_inputs(directions, 3).requires_grad_()
        require_gradient(lambda x, *_, cell=cell: _run(cell, x), x, *cell.parameters())


CONTRACTS: list[Contract] = [
    cell_has_the_documented_shapes,
    cell_computes_sequences_as_steps,
    cell_has_independent_directions,
    cell_is_independent_of_the_batch_and_of_later_steps,
    cell_records_its_gates,
    cell_has_the_numerical_gradient,
]
"""The first is what the others rest on."""
