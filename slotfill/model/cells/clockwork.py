"""Clockwork RNN: modules of hidden units that are updated at different periods.

    at step t = 0, 1, 2, ..., module m with period T_m:
    h_t[m] = tanh(x_t W + h_{t-1} U + b)[m] where t mod T_m = 0, else h_{t-1}[m]
    U[k, m] = 0 where T_k < T_m: a module has connections from itself and slower modules

Source: Koutnik, Greff, Gomez & Schmidhuber 2014, "A Clockwork RNN"
"""

import torch
from torch import Tensor

from slotfill.config.option_types import Size
from slotfill.errors import ConfigError
from slotfill.model.cells.base import Cell, State


class Clockwork(Cell):
    """Update at each step only the modules whose period divides the step.

    periods: of the modules, in any order; each has an equal share of the units, and the fastest
        have the remainder.
    """

    mask: Tensor
    period: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        periods: list[Size] = [1, 2, 4, 8],  # noqa: B006
    ) -> None:
        if not 1 <= len(periods) <= hidden_size:
            raise ConfigError(
                f"{len(periods)} periods for hidden_size {hidden_size}; "
                "at least one, and at most one per hidden unit",
                key="periods",
            )
        super().__init__(input_size, hidden_size, directions, num_gates=1)
        share, rest = divmod(hidden_size, len(periods))
        sizes = torch.tensor([share + (module < rest) for module in range(len(periods))])
        period = torch.tensor(sorted(periods)).repeat_interleave(sizes)
        self.register_buffer("period", period, persistent=False)
        # Row k, column m: whether there is a connection from unit k to unit m.
        self.register_buffer("mask", (period.unsqueeze(1) >= period).float(), persistent=False)
        self.recurrent_weight.detach().mul_(self.mask)

    def initial_state(self, projected: Tensor) -> State:
        """Return h_0, zeros, and the index of the first step, 0, `(direction, batch, 1)`."""
        time = projected.new_zeros(*projected.shape[:2], 1, dtype=torch.long)
        return (*super().initial_state(projected), time)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (h_t, index of the next step) as the state."""
        h, time = state
        new = torch.baddbmm(projected, h, self.recurrent_weight * self.mask).tanh()
        active = (time % self.period == 0).to(h.dtype)
        h = torch.lerp(h, new, active)
        self.record(active=active)
        return h, (h, time + 1)
