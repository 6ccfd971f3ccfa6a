"""The torch device that a name such as `auto` stands for."""

from __future__ import annotations

from typing import Literal

from slotfill.errors import UsageError

EngineName = Literal["auto", "onnx", "torch"]


def resolve_device(device: str) -> str:
    """Return the torch device for "cpu", "cuda" or "auto"; raises UsageError if it is missing."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no CUDA device here; use --device cpu")
    # Matrix products of single sentences gain nothing from a second thread; train sets its own.
    torch.set_num_threads(1)
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
