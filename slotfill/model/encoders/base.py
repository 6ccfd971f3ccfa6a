"""Base class of encoders."""

from torch import Tensor

from slotfill.model.activations import RecordsActivations


class Encoder(RecordsActivations):
    """From token vectors to contextual vectors; a subclass sets `output_size`."""

    output_size: int

    is_context_free: bool = False
    """Whether a token's output depends on that token only, so that prediction may cache it."""

    causal_directions: int = 0
    """Number of causal directions: 2 for one bidirectional layer, 1 for one forward layer.

    0 if outputs may depend on the complete sentence."""

    regularization_loss: Tensor | float = 0.0
    """Loss term of the last `forward`, a mean over the sentences of the batch."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, output_size)`, zero at padding.

        `x` `(batch, time, input)` has any value at padding, and `lengths` are the sentences'
        numbers of tokens. A sentence's output never depends on the rest of the batch.
        """
        raise NotImplementedError
