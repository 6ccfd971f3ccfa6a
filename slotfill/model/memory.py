"""A limit on the memory of a network, checked while it is built."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from slotfill.errors import ConfigError

MAX_TENSORS = 1000
"""Maximum number of tensors in a network, far above the 400 or so of a large transformer."""

_FACTORIES = {torch.empty, torch.zeros, torch.ones}


class MemoryLimit(TorchFunctionMode):
    """Within the block, a tensor that would not fit into memory is an error before it is allocated.

    Args:
        copies: Copies of each weight that will be in memory; in training with Adam 4: the weight,
            its gradient and its two moments.
    """

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.bytes = 0
        self.tensors = 0
        self.available = _physical_memory()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count what a factory function such as `torch.empty` is about to allocate."""
        if func in _FACTORIES and args:
            shape = args if isinstance(args[0], int) else args[0]
            self.bytes += 4 * math.prod(shape)
            self.tensors += 1
            self.check()
        return func(*args, **(kwargs or {}))

    def check(self, networks: int = 1) -> None:
        """Raise ConfigError if `networks` networks like the one so far do not fit into memory."""
        needed = self.bytes * self.copies * networks
        if needed > self.available:
            purpose = "weights, gradients and optimizer" if self.copies > 1 else "weights"
            raise ConfigError(
                f"needs about {_gigabytes(needed)} for {purpose}, but this machine has"
                f" {_gigabytes(self.available)}",
                key="ensemble_size" if networks > 1 else "",
            )
        if self.tensors > MAX_TENSORS:
            raise ConfigError(f"needs more than {MAX_TENSORS:,} weight tensors, the maximum")


def _physical_memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Unknown on Windows.
        return math.inf


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.0f} GB"
