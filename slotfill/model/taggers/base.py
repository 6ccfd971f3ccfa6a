"""The base class of taggers."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from slotfill.inference.decoding import Transitions, decode
from slotfill.model.activations import RecordsActivations
from slotfill.model.layers import padding_mask


class Tagger(RecordsActivations):
    """Scores of the tags at each token, and their loss against the gold tags.

    A subclass takes the size of the encoder's output and the `Vocab`, and implements `forward`.
    """

    uses_beam_search: bool = False
    """Whether `predict` needs more than emissions and transitions: then there is no ONNX export."""

    regularization_loss: Tensor | float = 0.0
    """What the last `forward` adds to the loss, a mean over the batch's sentences."""

    legal_transitions: Transitions | None = None
    """0 for the pairs of tags that are allowed, else minus infinity, if decoding is constrained."""

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        """Return the emissions `(batch, time, tags)`; any number at padding.

        `hidden` is the encoder's output, and `tags` the gold tags `(batch, time)` in training, for
        taggers that see previous tags.
        """
        raise NotImplementedError

    def loss(self, emissions: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the loss against `tags` `(batch, time)`, a mean over the batch's sentences.

        Here the cross-entropy, summed over each sentence's tokens.
        """
        mask = padding_mask(lengths, emissions.shape[1])
        return cross_entropy(emissions[mask], tags[mask], reduction="sum") / len(emissions)

    def predict(self, hidden: Tensor, emissions: Tensor, lengths: Tensor) -> list[list[int]]:
        """Return the ids of each sentence's tags, from the input and the output of `forward`."""
        scores = emissions.float().cpu().numpy()
        return decode(scores, lengths.cpu().numpy(), self.transitions())

    def transitions(self) -> Transitions | None:
        """Return the scores of pairs of tags that decoding adds to the emissions, if any."""
        return self.legal_transitions
