"""KL bottleneck: an LSTM with a sampled latent vector whose divergence from a prior is a loss.

    m, log s     = x_t Q + h_{t-1} V + b_q        encoding q(z_t | x_t, h_{t-1}) = N(m, s^2)
    m_p, log s_p = h_{t-1} V_p + b_p              learned prior p(z_t | h_{t-1}) = N(m_p, s_p^2)
                 = 0, 0                           fixed prior
    z_t     = m + s * e in training, e from N(0, 1); otherwise m
    i, f, o = sigmoid(x_t W + z_t Z + h_{t-1} U + b), stacked in one product
    g       = tanh(x_t W_g + z_t Z_g + h_{t-1} U_g + b_g)
    c_t     = f * c_{t-1} + i * g
    h_t     = o * tanh(c_t)
    loss   += kl_weight * sum over t and latent dimensions of
              log(s_p / s) + (s^2 + (m - m_p)^2) / (2 s_p^2) - 1/2

The step is that of a variational recurrent network (Chung et al. 2015), or with the fixed prior
that of STORN (Bayer & Osendorfer 2015), with matrices for their networks. But those model x itself;
here the likelihood is that of the tags, which q does not see, so z only limits what the tagger
knows of x. The models of x are generators: `generator: vrnn` and `generator: storn`.

Source: Alemi, Fischer, Dillon & Murphy 2017, "Deep Variational Information Bottleneck"
"""

from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import NonNegative, Size
from slotfill.model.cells.base import Cell, State, xavier_parameter


class KLBottleneck(Cell):
    """Update a memory c from the input and a latent z, whose KL divergence is added to the loss.

    latent_size: size of z.
    prior: `learned` from the previous state, or `fixed` to N(0, 1).
    kl_weight: weight of the Kullback-Leibler divergence of q from p in the loss; 0: not in it.
    forget_bias: initial bias of the forget gate, as in `lstm`.
    """

    gates = ("input", "forget", "output", "candidate")
    has_kl_term = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        latent_size: Size = 16,
        prior: Literal["learned", "fixed"] = "learned",
        kl_weight: NonNegative = 1.0,
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size, directions)
        self.state_sizes = (hidden_size, hidden_size, 1)
        self.bias.detach()[:, :, hidden_size : 2 * hidden_size] = forget_bias
        self.latent_size = latent_size
        self.prior = prior
        self.kl_weight = kl_weight
        latent_outputs = latent_size * (4 if prior == "learned" else 2)
        self.posterior_weight = xavier_parameter(directions, input_size, 2 * latent_size)
        # V and V_p in one product.
        self.hidden_to_latent_weight = xavier_parameter(directions, hidden_size, latent_outputs)
        self.hidden_to_latent_bias = nn.Parameter(torch.zeros(directions, 1, latent_outputs))
        self.latent_weight = xavier_parameter(directions, latent_size, 4 * hidden_size)

    def project(self, x: Tensor) -> Tensor:
        """Return the input projections of the gates, then those of m and log s."""
        return torch.cat((super().project(x), torch.bmm(x, self.posterior_weight)), dim=2)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (h_t, c_t, weighted divergence of this step) as the state."""
        h, c, _ = state
        size, latents = self.hidden_size, self.latent_size
        inputs, posterior = projected.split([4 * size, 2 * latents], dim=2)
        latent = torch.baddbmm(self.hidden_to_latent_bias, h, self.hidden_to_latent_weight)
        from_hidden, prior = latent.split([2 * latents, latent.shape[2] - 2 * latents], dim=2)
        m, log_s = (from_hidden + posterior).split(latents, dim=2)
        z = torch.addcmul(m, log_s.exp(), torch.randn_like(m)) if self.training else m
        kl = self.divergence(m, log_s, prior)
        x = torch.baddbmm(torch.baddbmm(inputs, h, self.recurrent_weight), z, self.latent_weight)
        gates, g = x.split([3 * size, size], dim=2)
        i, f, o = gates.sigmoid().split(size, dim=2)
        g = g.tanh()
        c = torch.addcmul(f * c, i, g)
        h = o * c.tanh()
        self.record(latent=z, input=i, forget=f, output=o, candidate=g, memory=c)
        return h, (h, c, self.kl_weight * kl)

    def divergence(self, m: Tensor, log_s: Tensor, prior: Tensor) -> Tensor:
        """Return the Kullback-Leibler divergence `(direction, batch, 1)` of q from p, in nats.

        `prior` holds m_p and log s_p, and is empty if the prior is fixed.
        """
        if self.prior == "learned":
            m_p, log_s_p = prior.split(self.latent_size, dim=2)
            m, log_s = (m - m_p) / log_s_p.exp(), log_s - log_s_p
        return (0.5 * ((2 * log_s).exp() + m.square() - 1) - log_s).sum(2, keepdim=True)
