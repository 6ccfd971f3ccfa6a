"""What every encoder promises."""

from __future__ import annotations

from torch import Tensor

from slotfill.model.activations import RecordsActivations


class Encoder(RecordsActivations):
    """From a vector for each token to another that knows of its sentence; a subclass sets
    `output_size`.
    """

    output_size: int

    is_context_free: bool = False
    """Whether what a token gets depends on that token alone, so that predict may keep it from
    sentence to sentence.
    """

    causal_directions: int = 0
    """How many halves the output has, the first read from the beginning and the other from the
    end, each of which has seen no further than its token; 0 where a token's output may depend on
    all others."""

    regularization_loss: Tensor | float = 0.0
    """What the last `forward` adds to the loss, a mean over the batch's sentences."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, output_size)` of `x` `(batch, time, input)` and `lengths`
        `(batch,)` in tokens.

        A sentence's result never depends on its batch-mates; at padding it is zero.
        """
        raise NotImplementedError
