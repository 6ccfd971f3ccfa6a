"""The optimizer: from the gradient of a batch to a step of all weights, each of them by its
learning rate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from slotfill.config.models import TrainConfig
from slotfill.model.ensemble import Model
from slotfill.training.flat_parameters import stretches


class Optimizer:
    """SGD, Adam or AdamW over one vector of all `weights`, at rates that follow the schedule of
    `config` for `epochs`.

    Weights with a learning rate of their own, as a pretrained network has, take it in the place of
    that of `config`.
    """

    def __init__(self, model: Model, weights: Tensor, config: TrainConfig, epochs: int) -> None:
        self.config = config
        self.epochs = epochs
        self.rate = 0.0
        """The learning rate of the last step, of weights without one of their own."""
        groups = [
            {"params": [nn.Parameter(weights[start:end])], "start": start, "end": end, "full": own}
            for start, end, own in stretches(model, config.learning_rate)
        ]
        self._torch: torch.optim.Optimizer
        if config.optimizer == "sgd":
            self._torch = torch.optim.SGD(
                groups,
                lr=config.learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
        else:
            kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
            self._torch = kind(
                groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
            )

    def step(self, gradient: Tensor, epoch: float) -> None:
        """Move the weights by their `gradient`, cut to its greatest length, after `epoch` epochs,
        parts included.
        """
        if self.config.gradient_clip:
            length = torch.linalg.vector_norm(gradient)
            gradient.mul_((self.config.gradient_clip / (length + 1e-6)).clamp_max(1))
        height = self._height(epoch)
        self.rate = self.config.learning_rate * height
        for group in self._torch.param_groups:
            group["lr"] = group["full"] * height
            group["params"][0].grad = gradient[group["start"] : group["end"]]
        self._torch.step()

    def _height(self, epoch: float) -> float:
        """The share of the learning rates in force after `epoch` epochs."""
        config = self.config
        if epoch < config.warmup_epochs:
            return (epoch + 1e-3) / config.warmup_epochs
        progress = (epoch - config.warmup_epochs) / max(self.epochs - config.warmup_epochs, 1e-9)
        if config.schedule == "linear":
            return max(1 - progress, 0.0)
        if config.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return 1.0

    def state(self) -> dict[int, dict[str, Tensor]]:
        """Return what the next steps depend on beside the weights: tensors by name, for each
        stretch of weights.
        """
        found: dict[int, dict[str, Tensor]] = self._torch.state_dict()["state"]
        return found

    def restore(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Go back to what `state` returned."""
        self._torch.load_state_dict(self._torch.state_dict() | {"state": state})
