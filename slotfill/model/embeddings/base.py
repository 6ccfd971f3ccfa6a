"""What every embedding promises."""

from __future__ import annotations

from torch import Tensor, nn

from slotfill.data.indexers import Indexer


class Embedding(nn.Module):
    """From the arrays of its lookup to a vector for each token.

    A subclass takes the Vocab and its options, and sets `lookup` and `output_size`. Where a token's
    vector depends on the other tokens of its sentence, it is `contextual`.
    """

    contextual = False
    indexer: Indexer
    output_size: int

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return `(batch, time, output_size)`; what stands at padding does not matter."""
        raise NotImplementedError
