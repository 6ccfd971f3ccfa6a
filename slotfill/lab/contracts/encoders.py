"""Contracts of encoders."""

from __future__ import annotations

import torch
from torch import nn

from slotfill.config.registry import (
    ENCODERS,
)
from slotfill.lab.contracts.requirements import (
    Contract,
    Part,
    require,
    require_arguments,
    require_equal,
    require_grad,
    require_gradient,
    require_output_size,
    require_tensor,
)
from slotfill.lab.contracts.samples import (
    INPUT,
    make_inputs,
    randomize,
)
from slotfill.model.encoders.base import Encoder


def _build_encoder(part: Part) -> Encoder:
    encoder: Encoder = ENCODERS.build(part, INPUT).double().eval()
    randomize(encoder, 1)
    return encoder


def encoder_has_the_documented_shapes(part: Part) -> None:
    encoder, (x, lengths) = _build_encoder(part), make_inputs(INPUT)
    require_output_size(encoder)
    require_arguments(encoder.forward, [x, lengths], "x and lengths")
    shape = (*x.shape[:2], encoder.output_size)
    name = "the output of forward()"
    outputs = encoder.float()(x.float().requires_grad_(), lengths)
    require_tensor(outputs, shape, x.float(), name)
    require_grad(outputs, name)
    outputs = encoder.double()(x, lengths)
    require_tensor(outputs, shape, x, name)
    for row, length in zip(outputs, lengths, strict=True):
        require((row[length:] == 0).all(), "the output must be zero at padding")
    require((outputs != 0).any(), "the output is zero at all tokens")


def encoder_is_independent_of_the_batch(part: Part) -> None:
    encoder, (x, lengths) = _build_encoder(part), make_inputs(INPUT)
    message = "a sentence depends on the others of the batch"
    together = encoder(x, lengths)
    for row, length, encoded in zip(x, lengths, together, strict=True):
        alone = encoder(row[None, :length], length[None])
        require_equal(alone[0], encoded[:length], message)
    order = torch.tensor([4, 2, 0, 3, 1])
    require_equal(encoder(x[order], lengths[order]), together[order], message)


def encoder_is_independent_of_padding(part: Part) -> None:
    """Outputs and gradients depend neither on values nor on the length of padding."""
    encoder, (x, lengths) = _build_encoder(part), make_inputs(INPUT)
    x.requires_grad_()
    expected = encoder(x, lengths)
    time = x.shape[1]
    parameters = [x, *encoder.parameters()]
    gradients = torch.autograd.grad(expected.square().sum(), parameters, materialize_grads=True)
    padded = nn.functional.pad(x, (0, 0, 0, 4), value=7.0)
    mask = torch.arange(time + 4)[None, :, None] < lengths[:, None, None]
    outputs = encoder(torch.where(mask, padded, 7.0), lengths)
    require_equal(outputs[:, :time], expected, "the output depends on padding")
    require((outputs[:, time:] == 0).all(), "the output must be zero at padding")
    actual = torch.autograd.grad(outputs.square().sum(), parameters, materialize_grads=True)
    for computed, reference in zip(actual, gradients, strict=True):
        require_equal(computed, reference, "the gradient depends on padding", 1e-10)


def encoder_has_the_numerical_gradient(part: Part) -> None:
    encoder = _build_encoder(part)
    x, lengths = make_inputs(INPUT, (3, 1, 2))
    require_gradient(lambda x, *_: encoder(x, lengths), x.requires_grad_(), *encoder.parameters())


def encoder_is_determined_by_the_seed_and_its_weights(part: Part) -> None:
    def draw(seed: int) -> Encoder:
        torch.default_generator.manual_seed(seed)
        encoder: Encoder = ENCODERS.build(part, INPUT).eval()
        return encoder

    first, again, other = draw(1), draw(1), draw(2)
    weights = first.state_dict()
    same = all(torch.equal(weights[name], tensor) for name, tensor in again.state_dict().items())
    require(same, "the same seed gives other weights")
    x, lengths = make_inputs(INPUT)
    x = x.float()
    outputs = first(x, lengths)
    changed = not weights or not torch.equal(other(x, lengths), outputs)
    require(changed, "another seed changes nothing")
    other.load_state_dict(weights)
    require(torch.equal(other(x, lengths), outputs), "the output differs after loading")


CONTRACTS: list[Contract] = [
    encoder_has_the_documented_shapes,
    encoder_is_independent_of_the_batch,
    encoder_is_independent_of_padding,
    encoder_is_determined_by_the_seed_and_its_weights,
    encoder_has_the_numerical_gradient,
]
"""The first is what the others rest on."""
