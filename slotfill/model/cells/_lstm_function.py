"""An LSTM over a whole sentence with its gradient by hand: what a loop of single operations gives,
in fewer of them.

    di = dc g i (1 - i)      df = dc c_{t-1} f (1 - f)      dg = dc i (1 - g^2)      do = dh tanh(c)
    o (1 - o) dc += dh o (1 - tanh(c)^2), then dc_{t-1} = dc f and dh_{t-1} = [di df do dg] U^T

Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; Gers, Schmidhuber & Cummins 2000,
backward by the chain rule
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LSTMPass(torch.autograd.Function):
    """Outputs `(direction, time, batch, hidden)` of `x` `(direction, time, batch, input)`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, input_weight: Tensor, recurrent_weight: Tensor, bias: Tensor
    ) -> Tensor:
        """Keep the gates, the memory and what is read of it, each of all steps in one tensor."""
        directions, time, batch, _ = x.shape
        size = recurrent_weight.shape[1]
        gates = torch.baddbmm(bias, x.flatten(1, 2), input_weight).unflatten(1, (time, batch))
        h, c = (x.new_zeros(directions, time + 1, batch, size) for _ in range(2))
        seen = x.new_empty(directions, time, batch, size)
        i, f, o, g = (gate.unbind(1) for gate in gates.split(size, dim=3))
        products, open_run = gates.unbind(1), gates[..., : 3 * size].unbind(1)
        for t, (memory, output) in enumerate(zip(c.unbind(1)[1:], h.unbind(1)[1:], strict=True)):
            products[t].baddbmm_(h[:, t], recurrent_weight)
            open_run[t].sigmoid_()
            _tanh(g[t], out=g[t])
            torch.mul(f[t], c[:, t], out=memory)
            memory.addcmul_(i[t], g[t])
            torch.mul(o[t], _tanh(memory, out=seen[:, t]), out=output)
        ctx.save_for_backward(x, input_weight, recurrent_weight, gates, h, c, seen)
        return h[:, 1:]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Compute at each step only what waits for the step after it; the weights' gradients by one
        product each.
        """
        x, input_weight, recurrent_weight, gates, h, c, seen = ctx.saved_tensors
        time, size = x.shape[1], recurrent_weight.shape[1]
        i, f, o, g = gates.split(size, dim=3)
        # First all that does not wait: the slopes, which the loop multiplies by dc and dh.
        d = torch.empty_like(gates)
        di, df, do, dg = d.split(size, dim=3)
        torch.addcmul(i, i, i, value=-1, out=di).mul_(g)
        torch.addcmul(f, f, f, value=-1, out=df).mul_(c[:, :-1])
        torch.addcmul(o, o, o, value=-1, out=do).mul_(seen)
        torch.addcmul(i, i, g * g, value=-1, out=dg)
        read = torch.addcmul(o, o, seen * seen, value=-1).unbind(1)
        written = d[..., : 2 * size].unflatten(3, (2, size)).unbind(1)
        turned = recurrent_weight.transpose(1, 2)
        dys, dos, dgs, ds, kept = dy.unbind(1), do.unbind(1), dg.unbind(1), d.unbind(1), f.unbind(1)
        dh, dc = dys[-1], torch.zeros_like(dys[-1])
        for t in reversed(range(time)):
            dc.addcmul_(dh, read[t])
            dos[t].mul_(dh)
            written[t].mul_(dc.unsqueeze(2))
            dgs[t].mul_(dc)
            if t:
                dc.mul_(kept[t])
                dh = torch.baddbmm(dys[t - 1], ds[t], turned)
        d = d.flatten(1, 2)
        by_x = (
            torch.bmm(d, input_weight.transpose(1, 2)).view_as(x)
            if ctx.needs_input_grad[0]
            else None
        )
        by_input_weight = torch.bmm(x.flatten(1, 2).transpose(1, 2), d)
        by_recurrent_weight = torch.bmm(h[:, :-1].flatten(1, 2).transpose(1, 2), d)
        return by_x, by_input_weight, by_recurrent_weight, d.sum(1, keepdim=True)


def _tanh(x: Tensor, out: Tensor) -> Tensor:
    """Return tanh as 2 sigmoid(2 x) - 1, which torch computes three times as fast, put into `out`."""
    return torch.mul(x, 2, out=out).sigmoid_().mul_(2).sub_(1)
