"""The torch device that a name such as `auto` stands for."""

from __future__ import annotations

from slotfill.errors import UsageError


def resolve_device(device: str) -> str:
    """Return the torch device that `device` means here; raises UsageError where it is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no CUDA device here; use --device cpu")
    # Products of single sentences are too small to share between processors; train sets its own
    # number.
    torch.set_num_threads(1)
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
