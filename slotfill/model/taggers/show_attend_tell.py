"""Decoder with soft or hard attention, gated, as in image captioning.

    e_tj = v . tanh(s_{t-1} W + h_j U)                                 the score (section 3.1.2)
    a_tj = softmax_j(e_tj)
    z_t  = beta_t * sum_j a_tj h_j            attention: soft          (section 4.2)
    z_t  = beta_t * h_j, with P(j) = a_tj     attention: hard          (section 4.1)
    beta_t = sigmoid(s_{t-1} . w + b)                                  the gate (section 4.2.1)
    s_t  = cell([tag_vector(y_{t-1}) ; h_t ; z_t], s_{t-1})            h_t with aligned: true
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

Soft attention adds to the loss that of doubly stochastic attention, as each token j should be
attended to once:

    loss += doubly_stochastic * sum_j (1 - sum_t a_tj)^2               (section 4.2.1)

Hard attention draws one token j_t a step in training, and takes the most probable one otherwise.
The draws are learned by REINFORCE, with the reward r = log P(y | draws) in a mean over the tokens,
a baseline b, and the entropy of a:

    loss -= reinforce * (r - b) * sum_t log a_{t,j_t} + entropy * sum_t H(a_t)
    b    <- 0.9 b + 0.1 r, a mean over the batch

These losses are means over the sentences, whatever their weights, and so is the baseline, of which
each of several training processes has its own: that of the sentences that it has seen. A baseline
that does not depend on the draws changes the variance of the gradient only, not its expectation;
but a training with several processes that is resumed goes on with the baseline of the first.

As in the paper, half of the sentences, every second one of a batch, see the expectation of soft
attention instead of a draw. Unlike there, the cell starts from its own initial state, where the
paper has another layer of the mean; the first query is s_0 = tanh(mean_j h_j W_0 + b_0), and the
output sees y_{t-1} and z_t only by s_t. An image has no order, so that h_t has no counterpart
there: `aligned: false` is the decoder of the paper.

Source: Xu et al. 2015, "Show, Attend and Tell: Neural Image Caption Generation with Visual
Attention"; REINFORCE: Williams 1992, "Simple Statistical Gradient-Following Algorithms for
Connectionist Reinforcement Learning"

Export: Exported only with beam: 1.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import BeamSize, CellPart, Fraction, NonNegative, Size
from slotfill.data.vocab import Vocab
from slotfill.model.layers import AdditiveAttention, padding_mask
from slotfill.model.taggers._decoder import Decoder, EncoderMemory

BASELINE_DECAY = 0.9


class ShowAttendTell(Decoder):
    """A decoder whose context is an attention-weighted sum of all states, or one that is drawn.

    Records the attention `weights` `(batch, 1, 1, time)` and the gate `context` of each step.

    attention: the weighted sum (soft), or one state that is drawn by the weights (hard).
    aligned: the decoder also sees the state of its own token.
    doubly_stochastic: weight of the loss of tokens that soft attention skips or repeats.
    reinforce: weight of the loss from which hard attention learns what to draw.
    entropy: weight of the entropy of hard attention, which keeps it from settling early.
    hidden_size: size of the decoder's state and of the attention's hidden layer.
    tag_size: dimension of the tag embeddings.
    cell: the decoder's recurrent cell.
    dropout: dropout rate on the encoder's output.
    beam: hypotheses in the beam search; 1 decodes greedily.
    """

    def __init__(
        self,
        input_size: int,
        vocab: Vocab,
        *,
        attention: Literal["soft", "hard"] = "soft",
        aligned: bool = True,
        doubly_stochastic: NonNegative = 1.0,
        reinforce: NonNegative = 1.0,
        entropy: NonNegative = 0.01,
        hidden_size: Size = 128,
        tag_size: Size = 32,
        cell: CellPart = "lstm",
        dropout: Fraction = 0.5,
        beam: BeamSize = 1,
    ) -> None:
        context_size = input_size * (2 if aligned else 1)
        super().__init__(context_size, vocab, hidden_size, tag_size, cell, dropout, beam)
        self.is_hard = attention == "hard"
        self.aligned = aligned
        self.doubly_stochastic = doubly_stochastic
        self.reinforce = reinforce
        self.entropy = entropy
        self.first_query = nn.Linear(input_size, hidden_size)
        self.attention = AdditiveAttention(hidden_size, input_size, hidden_size)
        self.gate = nn.Linear(hidden_size, 1)
        self.baseline: Tensor
        if self.is_hard:
            self.register_buffer("baseline", torch.zeros(()))
        self._steps: list[tuple[Tensor, Tensor]] | None = None
        """The weights of each step, and what is seen, while the loss is computed."""

    def prepare_memory(self, hidden: Tensor, lengths: Tensor) -> EncoderMemory:
        """Return the states, their keys and the padding mask, each `(batch, time, ...)`."""
        return hidden, self.attention.key(hidden), padding_mask(lengths, hidden.shape[1])

    def initial_output(self, memory: EncoderMemory) -> Tensor:
        """Return the first query, computed from the mean of the states."""
        hidden, _, mask = memory
        mask = mask.unsqueeze(2).to(hidden.dtype)
        return self.first_query((hidden * mask).sum(1) / mask.sum(1)).tanh()

    def decoder_input(self, memory: EncoderMemory, h: Tensor, s: Tensor) -> Tensor:
        """Return z_t, after h_t if it is aligned."""
        hidden, keys, mask = memory
        weights = self.attention(s.unsqueeze(1), keys, mask)
        gate = self.gate(s).sigmoid()
        self.record(weights=weights.unsqueeze(1), context=gate.unsqueeze(0))
        seen = self._choose(weights) if self.is_hard else weights
        if self._steps is not None:
            self._steps.append((weights[:, 0], seen[:, 0]))
        z = gate * (seen @ hidden)[:, 0]
        return torch.cat((h, z), dim=1) if self.aligned else z

    def _choose(self, weights: Tensor) -> Tensor:
        """Return 1 at one token and 0 elsewhere; `weights` and the result: `(batch, 1, time)`.

        In training every second sentence has its weights instead.
        """
        if self.training:
            choice = torch.multinomial(weights[:, 0].float(), 1).unsqueeze(1)
        else:
            choice = weights.argmax(2, keepdim=True)
        positions = torch.arange(weights.shape[2], device=weights.device)
        seen = (positions == choice).to(weights.dtype)
        if self.training:
            seen[1::2] = weights[1::2]
        return seen

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        """Return the logits `(batch, time, tags)`, given the gold tags or the best ones so far."""
        if tags is None:
            return super().forward(hidden, lengths)
        self._steps = []
        emissions = super().forward(hidden, lengths, tags)
        weights, seen = (torch.stack(tensors, dim=1) for tensors in zip(*self._steps, strict=True))
        self._steps = None
        mask = padding_mask(lengths, hidden.shape[1])
        if self.is_hard:
            likelihoods = -self.loss(emissions.detach(), lengths, tags)
            losses = self._hard_losses(weights, seen, mask, likelihoods / lengths)
        else:
            # Of the tokens, and of the steps, those of padding do not count.
            attended = (weights * mask.unsqueeze(2)).sum(1)
            losses = self.doubly_stochastic * ((1 - attended).square() * mask).sum(1)
        self.regularization_loss = self.regularization_loss + losses.mean()
        return emissions

    def _hard_losses(self, weights: Tensor, seen: Tensor, mask: Tensor, rewards: Tensor) -> Tensor:
        """Return the losses `(batch,)` of entropy and, in training, of REINFORCE.

        `weights` and `seen` are `(batch, query, time)`, and `rewards` `(batch,)`.
        """
        logs = weights.clamp_min(torch.finfo(weights.dtype).tiny).log() * mask.unsqueeze(2)
        losses = self.entropy * (weights * logs).sum((1, 2))
        if not self.training:
            return losses
        drawn = (seen * logs).sum((1, 2))[::2]
        losses = losses.clone()
        losses[::2] -= self.reinforce * (rewards - self.baseline)[::2] * drawn
        self.baseline.lerp_(rewards.mean(), 1 - BASELINE_DECAY)
        return losses
