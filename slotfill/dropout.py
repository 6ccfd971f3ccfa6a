"""Dropout that is the same at every token of a sentence.

Source: Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks"
"""

from __future__ import annotations

from torch import Tensor, nn


class SentenceDropout(nn.Module):
    """Drop numbers of a vector, each sentence its own, for all of the sentence's tokens alike.

    Besides suiting recurrence it draws few random numbers, which on a CPU cost more than a product.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` `(batch, time, size)` with a share of its last axis zero and the rest scaled up."""
        if not self.training or self.rate == 0:
            return x
        return x * nn.functional.dropout(x.new_ones(len(x), 1, x.shape[2]), self.rate)
