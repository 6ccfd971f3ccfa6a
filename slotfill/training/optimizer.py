"""The optimizer and the learning rate schedule of a config."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from slotfill.config.sections import TrainConfig


def build_optimizer(
    model: nn.Module, weights: Iterable[nn.Parameter], config: TrainConfig
) -> torch.optim.Optimizer:
    """Return SGD, Adam or AdamW over `weights`, parameters of `model`.

    The parameters of a module with a `learning_rate` attribute, as a pretrained network has, form
    a group with that rate. The first group is that of `train.learning_rate`.
    """
    rates: dict[nn.Parameter, float] = {}
    for module in model.modules():
        if (rate := getattr(module, "learning_rate", None)) is not None:
            rates.update(dict.fromkeys(module.parameters(), rate))
    groups: dict[float, list[nn.Parameter]] = {config.learning_rate: []}
    for parameter in weights:
        groups.setdefault(rates.get(parameter, config.learning_rate), []).append(parameter)
    options: dict[str, Any] = {"weight_decay": config.weight_decay, "fused": True}
    if config.optimizer == "sgd":
        options["momentum"] = config.momentum
    optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    parameters = [{"params": members, "lr": rate} for rate, members in groups.items()]
    return optimizers[config.optimizer](parameters, **options)


def lr_factor(config: TrainConfig, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the function from a step to the factor of all learning rates, for `LambdaLR`.

    Linear warm-up over `train.warmup_epochs`, then `train.schedule` down to zero at `epochs`.
    """

    def factor(step: int) -> float:
        epoch = step / steps_per_epoch
        if epoch < config.warmup_epochs:
            return (epoch + 1e-3) / config.warmup_epochs
        progress = (epoch - config.warmup_epochs) / max(epochs - config.warmup_epochs, 1e-9)
        if config.schedule == "linear":
            return max(1 - progress, 0.0)
        if config.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return 1.0

    return factor
