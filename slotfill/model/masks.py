"""Padding masks."""

from __future__ import annotations

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, time: int) -> Tensor:
    """Return `(batch, time)`: True at tokens, False at padding."""
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(1)
