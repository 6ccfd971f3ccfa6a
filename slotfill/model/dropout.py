"""Dropout with one mask for all tokens of a sentence.

Source: Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural
Networks"
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Drop the same dimensions at all tokens of a sentence, others in each sentence.

    It suits recurrence, and draws few random numbers, which on a CPU cost more than a product.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` `(batch, time, size)` with dimensions dropped and the others scaled up."""
        if not self.training or self.rate == 0:
            return x
        # A comparison takes a third of the time of torch's own dropout.
        mask = torch.rand(len(x), 1, x.shape[2], dtype=x.dtype, device=x.device) >= self.rate
        return x * (mask / (1 - self.rate)).to(x.dtype)
