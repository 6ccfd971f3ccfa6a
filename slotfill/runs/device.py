"""The torch device that a name such as `auto` stands for."""

from __future__ import annotations

import os
from typing import Literal, get_args

from slotfill.errors import UsageError, did_you_mean

EngineName = Literal["auto", "onnx", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]


def check_names(device: str, engine: str) -> None:
    """Raise UsageError if there is no such device or engine."""
    for kind, name, names in (("device", device, DeviceName), ("engine", engine, EngineName)):
        if name not in get_args(names):
            raise UsageError(f"no {kind} {name!r}{did_you_mean(name, get_args(names))}")


def resolve_device(device: str) -> str:
    """Return the torch device for "cpu", "cuda" or "auto"; raises UsageError if it is missing."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no CUDA device here; use --device cpu")
    # Matrix products of single sentences gain nothing from a second thread; train sets its own.
    torch.set_num_threads(1)
    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    # Otherwise layers of cuDNN multiply with 10 bits of precision, those of the CPU with 23.
    torch.backends.cudnn.allow_tf32 = False
    # What deterministic algorithms need, before CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return "cuda"
