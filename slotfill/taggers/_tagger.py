"""What every tagger promises."""

from __future__ import annotations

from torch import Tensor, nn

from slotfill.decode import Transitions


class Tagger(nn.Module):
    """From what the encoder gives to a score for each tag of each token, and the loss against the gold tags.

    A subclass takes the encoder's output size and the Vocab.
    """

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return emissions `(batch, time, tags)` of `hidden` `(batch, time, hidden)`; any number at padding."""
        raise NotImplementedError

    def loss(self, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the loss, a mean over the batch's sentences, against `tags` `(batch, time)`."""
        raise NotImplementedError

    def transitions(self) -> Transitions | None:
        """Return the scores between tags that decoding adds to the emissions, or None if there are none."""
        return None
