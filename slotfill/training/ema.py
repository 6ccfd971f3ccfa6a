"""The decay of the EMA of the weights, which grows up to `train.ema_decay`.

Early on, a long average would be dominated by the initial weights.
"""

import math

import torch
from torch import Tensor


def ema_decay(step: int, highest: float) -> float:
    """Return the decay of a step, counted from 1."""
    return min(highest, (1 + step) / (10 + step))


def log_product_of_decays(steps: Tensor, highest: float) -> Tensor:
    """Return the logarithm of the product of the decays of steps 1 to n, plus a constant."""
    growing = steps.clamp(max=max(0, math.floor((10 * highest - 1) / (1 - highest)))).double()
    # The product of (1 + i) / (10 + i) up to n is (n + 1)! / (n + 10)!, times 10!.
    product = torch.lgamma(growing + 2) - torch.lgamma(growing + 11)
    return product + (steps - growing) * math.log(highest)
