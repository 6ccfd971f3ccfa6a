"""What contracts require of a result, in one line each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck

Part = Mapping[str, Any]
"""A part as in a config: its `name`, which may be a file, and its options."""

Contract = Callable[..., None]


class ContractError(Exception):
    """A part does not do what its kind promises; the message is one line."""


class WrongResultError(ContractError):
    """A result of another kind than documented, with which no other contract can be checked."""


class NotFiniteError(WrongResultError):
    """A result has nan or inf in it."""


def require(holds: Any, message: str) -> None:
    if not bool(holds):
        raise ContractError(message)


def require_result(holds: Any, message: str) -> None:
    if not bool(holds):
        raise WrongResultError(message)


def require_shape(tensor: Any, shape: Sequence[int], name: str) -> None:
    found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
    require_result(found == tuple(shape), f"{name} must be {tuple(shape)}, found {found}")


def require_tensor(tensor: Any, shape: Sequence[int], like: Tensor, name: str) -> None:
    """Check that `tensor` has a shape, the type and device of `like`, and finite numbers."""
    require_shape(tensor, shape, name)
    require_type(tensor, like, name)
    require_finite(tensor, name)


def require_type(tensor: Tensor, like: Tensor, name: str) -> None:
    expected, found = (str(each.dtype).removeprefix("torch.") for each in (like, tensor))
    require_result(found == expected, f"{name} must be {expected}, found {found}")
    message = f"{name} must be on the device of its input, {like.device}, found {tensor.device}"
    require_result(tensor.device == like.device, message)


def require_finite(tensor: Tensor, name: str) -> None:
    if not bool(tensor.isfinite().all()):
        raise NotFiniteError(f"{name} {'are' if _is_plural(name) else 'is'} not finite")


def _is_plural(name: str) -> bool:
    return name.split()[1].endswith("s")  # As `the losses of the sentences`.


def require_grad(tensor: Tensor, name: str) -> None:
    message = f"{name} {'have' if _is_plural(name) else 'has'} no gradient: requires_grad is False"
    require_result(tensor.requires_grad, f"{message}, as after detach(), .data or numpy()")


def require_arguments(function: Callable[..., Any], arguments: Sequence[Any], names: str) -> None:
    """Check that `function` can be called with `arguments`, which the documentation calls so."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise WrongResultError(f"{function.__name__}() must take {names}") from None


def require_pair(result: Any, name: str, parts: str) -> None:
    is_tuple = isinstance(result, tuple)
    found = f"a tuple of {len(result)}" if is_tuple else type(result).__name__
    require_result(is_tuple and len(result) == 2, f"{name} must return {parts}, found {found}")


def require_output_size(part: nn.Module) -> None:
    found = getattr(part, "output_size", None)
    message = f"__init__ must set self.output_size, an integer, found {found}"
    require_result(isinstance(found, int), message)


def require_equal(actual: Tensor, expected: Tensor, message: str, tolerance: float = 1e-12) -> None:
    found = type(actual).__name__
    require_result(isinstance(actual, Tensor), f"{message}: it must be a tensor, found {found}")
    for tensor in (actual, expected):
        require_finite(tensor, "the gradient" if "gradient" in message else "the output")
    shapes = tuple(actual.shape), tuple(expected.shape)
    require(shapes[0] == shapes[1], f"{message}: shape {shapes[0]}, not {shapes[1]}")
    difference = float((actual - expected).detach().abs().max()) if actual.numel() else 0.0
    require(difference <= tolerance * max(1.0, float(expected.detach().abs().max())), message)


def require_gradient(function: Callable[..., Any], *tensors: Tensor) -> None:
    try:
        gradcheck(function, tensors, fast_mode=True)
    except GradcheckError:
        outputs = function(*tensors)
        require_finite(outputs, "the output")
        for gradient in torch.autograd.grad(outputs.sum(), tensors, materialize_grads=True):
            require_finite(gradient, "the gradient")
        raise ContractError("the gradient differs from the numerical gradient") from None
