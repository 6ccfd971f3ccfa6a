"""Base class of embeddings."""

from collections.abc import Callable

from torch import Tensor, nn

from slotfill.data.indexers import Indexer


class Embedding(nn.Module):
    """From the arrays of its indexer to a vector for each token.

    A subclass takes the Vocab and its options.
    """

    contextual = False
    """Whether a token's vector depends on the other tokens of the sentence.

    If so, it is exported only if its indexer has `settings`.
    """
    indexer: Indexer
    """From tokens to the arrays that `forward` takes."""
    output_size: int
    """Size of a token's vector."""
    forward: Callable[..., Tensor]
    """From those arrays as tensors to `(batch, time, output_size)`, of any value at padding."""
