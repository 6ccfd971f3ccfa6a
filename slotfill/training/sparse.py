"""Training of large embedding tables: in each step, only the rows that the batch uses.

A row i with the gradient g in step t, and none in the k - 1 steps before, is updated by

    v_i <- b^k v_i + (1 - b) g^2
    w_i <- w_i - rate * g / (sqrt(v_i / (1 - b^t)) + epsilon)

This is Adam without momentum, which moves a row as far in total, but over the following steps, in
which all rows would have to be updated. The EMA e_i of a row that keeps its weights w_i for some
steps with the decays d_1 ... d_n is

    e_i <- w_i + d_1 ... d_n (e_i - w_i)

so it is computed before the row changes, and when it is read.

Source: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization"
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slotfill.config.sections import TrainConfig
from slotfill.model.layers import LookupTable
from slotfill.training.ema import log_product_of_decays

MIN_NUMBERS = 1 << 18
"""Tables with fewer numbers are updated as other weights are, which takes as long."""

BETA = 0.999
EPSILON = 1e-8


class SparseTable:
    """A table of vectors, of which a step updates few."""

    def __init__(self, module: LookupTable, ema_decay: float) -> None:
        """`ema_decay` is `train.ema_decay`; 0 without an EMA."""
        module.sparse = True
        module.register_forward_pre_hook(self._record)
        self.weight = weight = module.weight
        self.square = torch.zeros_like(weight)
        """v: the mean of the squared gradients of each number."""
        self.ema_decay = ema_decay
        self.ema = weight.detach().clone()
        """The EMA of each row before its last update."""
        self.last_steps = torch.ones(len(weight), dtype=torch.int64)
        """The step of the last update of each row, or else 1."""
        self.is_used = torch.zeros(len(weight), dtype=torch.uint8)
        """1 for each row that has been looked up since the last step."""
        self.rows = torch.zeros(0, dtype=torch.int64)
        """The rows that this step updates, in increasing order."""
        self.values = weight.detach()[:0]
        """Their weights; `values.grad` is their gradient."""

    def _record(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if module.training:
            self.is_used[arguments[0]] = 1

    def collect(self, is_used: Tensor) -> Tensor:
        """Move the gradient of the last backward pass to `values`; return it, `(row, size)`.

        `is_used` is 1 for each row that this process or another has looked up.
        """
        self.rows = is_used.nonzero()[:, 0]
        self.is_used.zero_()
        self.values = self.weight.detach().index_select(0, self.rows)
        self.values.grad = torch.zeros_like(self.values)
        gradient, self.weight.grad = self.weight.grad, None
        if gradient is not None:
            places = torch.searchsorted(self.rows, gradient._indices()[0])
            self.values.grad.index_add_(0, places, gradient._values())
        return self.values.grad

    @torch.no_grad()
    def step(self, rate: float, step: int) -> None:
        """Update the collected rows in a step, counted from 1."""
        rows, gradient = self.rows, self.values.grad
        assert gradient is not None
        if self.ema_decay:
            self.ema.index_copy_(0, rows, self.average(step - 1, rows))
        decay = BETA ** (step - self.last_steps[rows]).to(gradient.dtype)
        square = self.square.index_select(0, rows).mul_(decay[:, None])
        square.addcmul_(gradient, gradient, value=1 - BETA)
        self.square.index_copy_(0, rows, square)
        self.last_steps[rows] = step
        scale = square.div_(1 - BETA**step).sqrt_().add_(EPSILON)
        self.weight.index_copy_(0, rows, self.values.addcdiv_(gradient, scale, value=-rate))

    def average(self, step: int, rows: Tensor | None = None) -> Tensor:
        """Return the EMA of `rows`, or of all, after a step."""
        parts = [self.weight.detach(), self.ema, self.last_steps]
        if rows is not None:
            parts = [part.index_select(0, rows) for part in parts]
        weight, ema, last_steps = parts
        before = log_product_of_decays(last_steps - 1, self.ema_decay)
        decay = (log_product_of_decays(torch.tensor(step), self.ema_decay) - before).exp()
        return torch.lerp(weight, ema, decay.float()[:, None])

    def state_dict(self) -> dict[str, Tensor]:
        """Return what the next steps depend on, besides the weights."""
        return {"square": self.square, "ema": self.ema, "last_steps": self.last_steps}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


def find_sparse_tables(model: nn.Module, config: TrainConfig) -> list[SparseTable]:
    """Return the large lookup tables of `model`, which get sparse gradients.

    None on a GPU, where updating all rows is fast, and with optimizers that change the other rows,
    too.
    """
    if config.optimizer == "sgd" or config.weight_decay:
        return []
    return [
        SparseTable(module, config.ema_decay)
        for module in model.modules()
        if isinstance(module, LookupTable)
        and module.weight.requires_grad
        and module.weight.numel() >= MIN_NUMBERS
        and module.weight.device.type == "cpu"
    ]
