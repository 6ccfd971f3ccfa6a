"""LSTM with a matrix memory (mLSTM): exponential gates write values by keys, and a query reads.

    q, k, v, o~ = x_t W + b, stacked in one product                   (eq. 22-24, 27)
    i~, f~ = x_t W_g + b_g, one of each for a head                    (eq. 25, 26)
    m_t = max(log f + m_{t-1}, i~), with log f = log sigmoid(f~)      (eq. 15, 26)
    i'  = exp(i~ - m_t)                                               (eq. 16, 25)
    f'  = exp(log f + m_{t-1} - m_t)                                  (eq. 17)
    C_t = f' C_{t-1} + i' v k^T / sqrt(d)                             (eq. 19, 23)
    n_t = f' n_{t-1} + i' k / sqrt(d)                                 (eq. 20, 23)
    h~  = C_t q / max(|n_t . q|, exp(-m_t))                           (eq. 21)
    h_t = sigmoid(o~) * h~                  norm: false               (eq. 21, 27)
    h_t = sigmoid(o~) * (w * LN(h~) + b)    norm: true, where LN normalizes each head (figure 11)

Each head has its own C_t, `(d, d)`, n_t and m_t, where d is hidden_size / heads. C_t and n_t are
those of the paper times exp(-m_t), and so is the bound of the divisor, which is 1 in the paper. No
gate sees h_{t-1}: in training all steps are computed at once, as attention with the weights

    D_tj = exp(i~_j + sum of log f from j + 1 to t - m_t), j <= t     (appendix A.3)
    S_tj = D_tj q_t . k_j / sqrt(d)
    h~   = sum_j S_tj v_j / max(|sum_j S_tj|, exp(-m_t))

The paper adds residual blocks with a convolution and projections around the cell; here it is the
cell alone. Its output is a product of query, key and value, and small without the normalization.

Source: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", section 2.3
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, logsigmoid

from slotfill.config.option_types import Size
from slotfill.model.cells.base import Cell, State, xavier_parameter
from slotfill.model.cells.slstm import RELATIVE, check_heads

MAX_PARALLEL_STEPS = 512
"""Longest sequence of which all steps are computed at once, in memory of its square."""

MAX_EXPONENT = 80.0
"""Largest exponent of the bound of the divisor, which is finite in single precision."""

NORM_EPSILON = 1e-5


class MLSTM(Cell):
    """Store values by keys in a matrix C, and read it by a query.

    heads: number of matrices, of hidden_size / heads rows and columns.
    forget_bias: initial bias of the forget gate, which does not see the state.
    norm: normalize what each head reads, as the blocks of the paper do.
    """

    gates = ("query", "key", "value", "output")
    gate_meanings: ClassVar[dict[str, str]] = RELATIVE

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        heads: Size = 2,
        forget_bias: float = 3.0,
        norm: bool = True,
    ) -> None:
        check_heads(heads, hidden_size)
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=0)
        self.heads = heads
        self.head_size = hidden_size // heads
        self.state_sizes = (hidden_size * self.head_size, hidden_size, heads)
        self.gate_weight = xavier_parameter(directions, input_size, 2 * heads)
        self.gate_bias = nn.Parameter(torch.zeros(directions, 1, 2 * heads))
        self.gate_bias.detach()[:, :, heads:] = forget_bias
        self.norm = norm
        if norm:
            self.norm_weight = nn.Parameter(torch.ones(directions, 1, hidden_size))
            self.norm_bias = nn.Parameter(torch.zeros(directions, 1, hidden_size))

    def project(self, x: Tensor) -> Tensor:
        """Return q, k, v and o~, then i~ and f~ of each head."""
        gates = torch.baddbmm(self.gate_bias, x, self.gate_weight)
        return torch.cat((super().project(x), gates), dim=2)

    def initial_state(self, projected: Tensor) -> State:
        """Return C_0 and n_0, zeros, and m_0, minus infinity."""
        *zeros, m = super().initial_state(projected)
        return (*zeros, torch.full_like(m, -torch.inf))

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (C_t, n_t, m_t) as the state; of C, `(head, d, d)` is flattened."""
        c, n, m = state
        # (direction, batch, head, d): queries, keys and values, and for one product (..., d, 1).
        q, k, v, o, i, log_f = self._split(projected)
        new_m = torch.maximum(log_f + m, i).detach()
        i, f = (i - new_m).exp(), (log_f + m - new_m).exp()
        by_head = (self.heads, self.head_size)
        c = c.unflatten(2, (*by_head, self.head_size)) * f[..., None, None]
        c = c + (v * i.unsqueeze(3)).unsqueeze(4) * k.unsqueeze(3)
        n = n.unflatten(2, by_head) * f.unsqueeze(3) + k * i.unsqueeze(3)
        divisor = torch.maximum((n * q).sum(3).abs(), _bound(new_m))
        h = o * self._normalize((c @ q.unsqueeze(4)).squeeze(4) / divisor.unsqueeze(3))
        if self.activations is not None:
            vectors = {"query": q, "key": k, "value": v}
            self.record(**{name: vector.flatten(2) for name, vector in vectors.items()})
            self.record(input=i, forget=f, output=o)
        return h, (c.flatten(2), n.flatten(2), new_m)

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        """Return the outputs of all steps at once, in training."""
        time = x.shape[1]
        if not torch.is_grad_enabled() or time > MAX_PARALLEL_STEPS:
            return None
        projected = self.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
        q, k, v, o, i, log_f = self._split(projected.transpose(1, 2))
        # From (direction, batch, time, head, d) to (direction, batch, head, time, d).
        q, k, v = (tensor.transpose(2, 3) for tensor in (q, k, v))
        i, total = i.transpose(2, 3), log_f.transpose(2, 3).cumsum(3)
        decay = total.unsqueeze(4) - total.unsqueeze(3) + i.unsqueeze(3)
        future = torch.ones(time, time, dtype=torch.bool, device=x.device).triu(1)
        decay = decay.masked_fill(future, -torch.inf)
        m = decay.detach().amax(4, keepdim=True)
        scores = q @ k.transpose(3, 4) * (decay - m).exp()
        divisor = torch.maximum(scores.sum(4, keepdim=True).abs(), _bound(m))
        read = (scores @ v / divisor).transpose(2, 3)
        return (o * self._normalize(read)).transpose(1, 2)

    def _normalize(self, read: Tensor) -> Tensor:
        """Return what the heads read `(direction, batch, ..., head, d)` as `(..., hidden)`."""
        if not self.norm:
            return read.flatten(-2)
        ones, zeros = read.new_ones(self.head_size), read.new_zeros(self.head_size)
        normal = layer_norm(read, (self.head_size,), ones, zeros, NORM_EPSILON).flatten(-2)
        shape = (len(normal), *[1] * (normal.dim() - 2), self.hidden_size)
        return normal * self.norm_weight.view(shape) + self.norm_bias.view(shape)

    def _split(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Return q, k / sqrt(d) and v `(..., head, d)`, o `(..., hidden)`, i~ and log f."""
        size = self.hidden_size
        q, k, v, o, i, f = projected.split([size] * 4 + [self.heads] * 2, dim=-1)
        q, k, v = (tensor.unflatten(-1, (self.heads, self.head_size)) for tensor in (q, k, v))
        return q, k * self.head_size**-0.5, v, o.sigmoid(), i, logsigmoid(f)


def _bound(m: Tensor) -> Tensor:
    """Return exp(-m), at most a large number."""
    return (-m).clamp(max=MAX_EXPONENT).exp()
