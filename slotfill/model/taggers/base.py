"""The base class of taggers."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from slotfill.data.batching import UNKNOWN
from slotfill.inference.decoding import Hypotheses, Transitions
from slotfill.model.activations import RecordsActivations
from slotfill.model.layers import padding_mask


class Tagger(RecordsActivations):
    """Scores of the tags at each token, and their loss against the gold tags.

    A subclass takes the size of the encoder's output and the `Vocab`, and implements `forward`.
    """

    uses_beam_search: bool = False
    """Whether tags are found by `search`; then there is no ONNX export."""

    regularization_loss: Tensor | float = 0.0
    """What the last `forward` adds to the loss, a mean over the batch's sentences."""

    uses_slot_names: bool = False
    """Whether slots without labelled examples can be predicted, from their names."""

    legal_transitions: Transitions | None = None
    """0 for the pairs of tags that are allowed, else minus infinity, if decoding is constrained."""

    def forward(self, hidden: Tensor, lengths: Tensor, tags: Tensor | None = None) -> Tensor:
        """Return the emissions `(batch, time, tags)`; any number at padding.

        `hidden` is the encoder's output, and `tags` the gold tags `(batch, time)` in training, for
        taggers that see previous tags.
        """
        raise NotImplementedError

    def loss(self, emissions: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """Return the loss of each sentence against `tags` `(batch, time)`, `(batch,)`.

        Here the cross-entropy, summed over each sentence's tokens whose tag is known.
        """
        mask = padding_mask(lengths, emissions.shape[1]) & (tags != UNKNOWN)
        losses = cross_entropy(emissions[mask], tags[mask], reduction="none")
        return losses.new_zeros(mask.shape).masked_scatter(mask, losses).sum(1)

    def soft_loss(
        self,
        emissions: Tensor,
        lengths: Tensor,
        marginals: Tensor,
        rows: Tensor,
        pairs: Tensor,
        counts: Tensor,
    ) -> Tensor:
        """Return the loss of each sentence against `SoftTargets`, `(batch,)`.

        Here the cross-entropy of the tags' probabilities at each token, summed over its tokens.
        """
        mask = padding_mask(lengths, emissions.shape[1]).unsqueeze(2)
        losses = marginals * emissions.log_softmax(2).masked_fill(~mask, 0)
        return -losses.sum((1, 2))

    def search(self, hidden: Tensor, lengths: Tensor) -> list[Hypotheses] | None:
        """Return the result of a beam search over the input of `forward`; None without one."""
        return None

    def transitions(self) -> Transitions | None:
        """Return the scores of pairs of tags that decoding adds to the emissions, if any."""
        return self.legal_transitions

    def restart_training(self, tags: Sequence[int]) -> None:
        """Prepare the weights of `tags`, ids, which a finished training has left, for another."""

    def finish_training(self) -> None:
        """Remove what only training needs, once, before the weights are saved."""
