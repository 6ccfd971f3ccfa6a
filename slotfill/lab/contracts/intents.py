"""Contracts of intent heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.config.registry import (
    INTENTS,
)
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import select_intents
from slotfill.lab.contracts.requirements import (
    Contract,
    Part,
    require,
    require_arguments,
    require_equal,
    require_grad,
    require_gradient,
    require_output_size,
    require_pair,
    require_tensor,
)
from slotfill.lab.contracts.samples import (
    INPUT,
    SENTENCES,
    make_inputs,
    randomize,
)
from slotfill.model.intents.base import IntentHead
from slotfill.model.layers import padding_mask


def _build_intent(part: Part, several: bool) -> tuple[IntentHead, Tensor, Tensor, Tensor]:
    """Return the head, its input, the lengths and the gold intents, of which a sentence has one."""
    sentences = SENTENCES if several else SENTENCES[1:]
    vocab = Vocab.from_sentences(sentences, "iob2", intents=True)
    head: IntentHead = INTENTS.build(part, INPUT, vocab).double().eval()
    randomize(head, 1)
    hidden, lengths = make_inputs(INPUT, [len(sentence.tokens) for sentence in sentences])
    return head, hidden, lengths, torch.tensor(np.stack(vocab.intent_targets(sentences)))


def intent_head_has_the_documented_shapes(part: Part) -> None:
    for several in (True, False):
        head, hidden, lengths, intents = _build_intent(part, several)
        require_output_size(head)
        mask = padding_mask(lengths, hidden.shape[1])
        for inputs in (hidden.float().requires_grad_(), hidden):
            head.to(inputs.dtype)
            if type(head).forward is IntentHead.forward:
                require_arguments(head.pool, [inputs, mask], "hidden and mask")
                shape = (len(lengths), head.linear.in_features)
                require_tensor(head.pool(inputs, mask), shape, inputs, "the output of pool()")
            require_arguments(head.forward, [inputs, lengths], "hidden and lengths")
            result = head(inputs, lengths)
            require_pair(result, "forward()", "the tagger's input and the scores of the intents")
            seen, scores = result
            shape = (*hidden.shape[:2], head.output_size)
            require_tensor(seen, shape, inputs, "the input of the tagger")
            require_tensor(scores, intents.shape, inputs, "the scores of the intents")
            if inputs.requires_grad:
                require_grad(scores, "the scores of the intents")
        require(
            (seen[:, :, :INPUT] == hidden).all(), "the tagger's input must begin with the states"
        )
        for row, length in zip(seen, lengths, strict=True):
            require((row[length:] == 0).all(), "the tagger's input must be zero at padding")
            same = (row[:length, INPUT:] == row[0, INPUT:]).all()
            require(same, "the tagger's input must have the same intents at all tokens")
        require(head.loss(scores, intents) > 0, "the loss must be above 0")
        chosen = select_intents(scores.detach().numpy(), several)
        require(all(chosen), "a sentence must have an intent")


def intent_head_is_independent_of_batch_and_padding(part: Part) -> None:
    for several in (True, False):
        head, hidden, lengths, intents = _build_intent(part, several)
        seen, together = head(hidden, lengths)
        losses = []
        message = "a sentence depends on the others of the batch"
        for row, length, gold, other, scores in zip(
            hidden, lengths, intents, seen, together, strict=True
        ):
            alone, score = head(row[None, :length], length[None])
            require_equal(alone[0], other[:length], message)
            require_equal(score[0], scores, message)
            losses.append(head.loss(score, gold[None]))
        mean = torch.stack(losses).mean()
        loss = head.loss(together, intents)
        require_equal(loss, mean, "the loss of a batch is not the mean of its sentences'")
        padded = head(nn.functional.pad(hidden, (0, 0, 0, 4)), lengths)
        require_equal(padded[1], together, "the scores depend on padding")
        require_equal(
            padded[0][:, : hidden.shape[1]], seen, "the tagger's input depends on padding"
        )


def intent_head_has_the_numerical_gradient(part: Part) -> None:
    for several in (True, False):
        head, hidden, lengths, intents = _build_intent(part, several)

        def loss(hidden: Tensor, *_: Tensor, own: Any = (head, lengths, intents)) -> Tensor:
            head, lengths, intents = own
            seen, scores = head(hidden, lengths)
            return head.loss(scores, intents) + seen.square().sum()

        require_gradient(loss, hidden.requires_grad_(), *head.parameters())


CONTRACTS: list[Contract] = [
    intent_head_has_the_documented_shapes,
    intent_head_is_independent_of_batch_and_padding,
    intent_head_has_the_numerical_gradient,
]
"""The first is what the others rest on."""
