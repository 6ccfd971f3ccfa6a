"""What every tagger promises."""

from __future__ import annotations

from torch import Tensor

from slotfill.inference.decoding import Transitions, decode
from slotfill.model.activations import RecordsActivations


class Tagger(RecordsActivations):
    """From what the encoder gives to a score for each tag of each token, and the loss against the
    gold tags.

    A subclass takes the encoder's output size and the Vocab.
    """

    uses_beam_search: bool = False
    """Whether its tags come from a search that emissions and transitions alone do not tell."""

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return emissions `(batch, time, tags)` of `hidden` `(batch, time, hidden)`; any number at
        padding.
        """
        raise NotImplementedError

    def loss(self, hidden: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the loss, a mean over the batch's sentences, against `tags` `(batch, time)`."""
        raise NotImplementedError

    def tags(self, hidden: Tensor, lengths: Tensor) -> list[list[int]]:
        """Return the ids of the best tags of each sentence."""
        emissions = self(hidden, lengths).float().cpu().numpy()
        return decode(emissions, lengths.cpu().numpy(), self.transitions())

    def transitions(self) -> Transitions | None:
        """Return the scores between tags that decoding adds to the emissions, or None if there are
        none.
        """
        return None
