"""LSTM with exponential gates (sLSTM): its memory is a weighted mean of what was written.

    z~, i~, f~, o~ = x_t W + h_{t-1} R + b, stacked in one product    (eq. 11-14)
    z   = tanh(z~)                                                    (eq. 11)
    m_t = max(log f + m_{t-1}, i~)                                    (eq. 15)
    i'  = exp(i~ - m_t)                                               (eq. 12, 16)
    f'  = exp(log f + m_{t-1} - m_t)                                  (eq. 17)
    log f = log sigmoid(f~)     forget_activation: sigmoid            (eq. 13)
    log f = f~                  forget_activation: exp                (eq. 13)
    c_t = f' * c_{t-1} + i' * z                                       (eq. 8)
    n_t = f' * n_{t-1} + i'                                           (eq. 9)
    h_t = sigmoid(o~) * c_t / n_t                                     (eq. 10, 14)

The stabilizer m_t, minus infinity before the first step, keeps the exponentials finite: c_t and n_t
are those of the paper times exp(-m_t), which their quotient does not depend on. With several heads
R is block diagonal, so that units see the previous output of their own head only. The paper adds
residual blocks with normalization and projections around the cell; here it is the cell alone.

Source: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", section 2.2
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from slotfill.config.option_types import Size
from slotfill.errors import ConfigError
from slotfill.model.cells.base import Cell, State

RELATIVE: dict[str, str] = {
    "input": "relative to the largest so far",
    "forget": "relative to the largest so far",
}
"""What stabilized exponential gates mean, for `inspect`."""


class SLSTM(Cell):
    """Update a memory c and its normalizer n by exponential gates.

    heads: number of groups of units that do not see each other's previous output.
    forget_activation: the activation of the forget gate.
    forget_bias: initial bias of the forget gate, as in `lstm`.
    """

    gates = ("candidate", "input", "forget", "output")
    gate_meanings: ClassVar[dict[str, str]] = RELATIVE

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        heads: Size = 1,
        forget_activation: Literal["sigmoid", "exp"] = "sigmoid",
        forget_bias: float = 1.0,
    ) -> None:
        check_heads(heads, hidden_size)
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=0)
        self.heads = heads
        self.forget_activation = forget_activation
        self.state_sizes = (hidden_size,) * 4
        size = hidden_size // heads
        self.recurrent_weight = nn.Parameter(torch.empty(directions, hidden_size, 4 * size))
        """`(direction, hidden, 4 * head size)`: the rows of a head have its block of each gate."""
        for rows in self.recurrent_weight.detach().view(-1, size, 4 * size):
            for block in rows.split(size, dim=1):
                nn.init.orthogonal_(block)
        self.bias.detach()[:, :, 2 * hidden_size : 3 * hidden_size] = forget_bias

    def initial_state(self, projected: Tensor) -> State:
        """Return h_0, c_0 and n_0, zeros, and m_0, minus infinity."""
        *zeros, m = super().initial_state(projected)
        return (*zeros, torch.full_like(m, -torch.inf))

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (h_t, c_t, n_t, m_t) as the state."""
        h, c, n, m = state
        z, i, f, o = (projected + self._recur(h)).split(self.hidden_size, dim=2)
        z, o = z.tanh(), o.sigmoid()
        log_f = logsigmoid(f) if self.forget_activation == "sigmoid" else f
        # The output does not depend on m, nor does its gradient.
        new_m = torch.maximum(log_f + m, i).detach()
        i, f = (i - new_m).exp(), (log_f + m - new_m).exp()
        c = torch.addcmul(f * c, i, z)
        n = torch.addcmul(i, f, n)
        memory = c / n
        h = o * memory
        self.record(candidate=z, input=i, forget=f, output=o, memory=memory)
        return h, (h, c, n, new_m)

    def _recur(self, h: Tensor) -> Tensor:
        """Return the products of the gates with h_{t-1}, `(direction, batch, 4 * hidden)`."""
        if self.heads == 1:
            return torch.bmm(h, self.recurrent_weight)
        directions, batch = h.shape[:2]
        by_head = h.unflatten(2, (self.heads, -1)).transpose(1, 2).flatten(0, 1)
        weight = self.recurrent_weight.unflatten(1, (self.heads, -1)).flatten(0, 1)
        products = torch.bmm(by_head, weight).view(directions, self.heads, batch, 4, -1)
        return products.permute(0, 2, 3, 1, 4).flatten(2)


def check_heads(heads: int, hidden_size: int) -> None:
    """Raise ConfigError unless `heads` divides `hidden_size`."""
    if hidden_size % heads:
        divisors = [number for number in range(1, hidden_size + 1) if hidden_size % number == 0]
        allowed = ", ".join(map(str, divisors))
        raise ConfigError(
            f"must divide hidden_size, {hidden_size}, found {heads} (allowed: {allowed})",
            key="heads",
        )
