"""Contracts of taggers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slotfill.config.registry import (
    TAGGERS,
)
from slotfill.data.sentence import Sentence
from slotfill.data.vocab import Vocab
from slotfill.lab.contracts.requirements import (
    Contract,
    Part,
    require,
    require_arguments,
    require_equal,
    require_grad,
    require_gradient,
    require_tensor,
)
from slotfill.lab.contracts.samples import (
    INPUT,
    SENTENCES,
    compute_loss,
    make_inputs,
    make_labelled_batch,
    make_vocab,
    randomize,
)
from slotfill.model.network import Network
from slotfill.model.taggers.base import Tagger


def _build_tagger(
    part: Part, sentences: Sequence[Sentence] = SENTENCES
) -> tuple[Tagger, Vocab, Tensor, Tensor, Tensor]:
    """Return the tagger, the vocabulary, its input, the lengths and the gold tags."""
    vocab = make_vocab("bioes")
    tagger: Tagger = TAGGERS.build(part, INPUT, vocab).double().eval()
    randomize(tagger, 1)
    plain = Network(vocab, ["word"], "feedforward", "softmax")
    batch = make_labelled_batch(plain, vocab, sentences)
    assert batch.tags is not None
    hidden, lengths = make_inputs(INPUT, batch.lengths.tolist())
    return tagger, vocab, hidden, lengths, torch.from_numpy(batch.tags)


def tagger_has_the_documented_shapes(part: Part) -> None:
    tagger, vocab, hidden, lengths, tags = _build_tagger(part)
    count = len(vocab.tags)
    require_arguments(tagger.forward, [hidden, lengths, tags], "hidden, lengths and tags=None")
    require_arguments(tagger.forward, [hidden, lengths], "hidden, lengths and tags=None")
    for inputs in (hidden.float().requires_grad_(), hidden):
        emissions = tagger.to(inputs.dtype)(inputs, lengths)
        require_tensor(emissions, (*hidden.shape[:2], count), inputs, "the emissions")
        losses = tagger.loss(tagger(inputs, lengths, tags), lengths, tags)
        require_tensor(losses, lengths.shape, inputs, "the losses of the sentences")
        if inputs.requires_grad:
            require_grad(losses, "the loss")
    require((losses > 0).all(), "the loss of a sentence must be above 0")
    if (transitions := tagger.transitions()) is not None:
        for name, shape in (("start", (count,)), ("matrix", (count, count)), ("end", (count,))):
            found = getattr(transitions, name).shape
            require(found == shape, f"transitions.{name} must be {shape}, found {found}")


def tagger_is_independent_of_the_batch(part: Part) -> None:
    tagger, _, hidden, lengths, tags = _build_tagger(part)
    together = tagger(hidden, lengths)
    losses = []
    for row, length, gold, emissions in zip(hidden, lengths, tags, together, strict=True):
        alone = (row[None, :length], length[None])
        message = "the emissions of a sentence depend on the others of the batch"
        require_equal(tagger(*alone)[0], emissions[:length], message)
        losses.append(compute_loss(tagger, *alone, gold[None, :length]))
    mean = torch.stack(losses).mean()
    loss = compute_loss(tagger, hidden, lengths, tags)
    require_equal(loss, mean, "the loss of a batch is not the mean of its sentences'")
    pad = nn.functional.pad
    padded = compute_loss(tagger, pad(hidden, (0, 0, 0, 4)), lengths, pad(tags, (0, 4)))
    require_equal(padded, mean, "the loss depends on padding")


def tagger_has_the_numerical_gradient(part: Part) -> None:
    tagger, _, hidden, lengths, tags = _build_tagger(part, SENTENCES[:4])
    require_gradient(
        lambda hidden, *_: compute_loss(tagger, hidden, lengths, tags),
        hidden.requires_grad_(),
        *tagger.parameters(),
    )


CONTRACTS: list[Contract] = [
    tagger_has_the_documented_shapes,
    tagger_is_independent_of_the_batch,
    tagger_has_the_numerical_gradient,
]
"""The first is what the others rest on."""
