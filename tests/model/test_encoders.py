"""Receptive field and options of each encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from part_cases import randomize

from slotfill.config.registry import ENCODERS
from slotfill.model.encoders.dilated_cnn import INITIAL_BIAS
from slotfill.model.layers import LockedDropout

TIME = 9
LENGTHS = torch.tensor([TIME])


def reach(part):
    """Return the input tokens that each output token depends on, `(token, token)`."""
    encoder = ENCODERS.build({"hidden_size": 4, "dropout": 0.0, **part}, 3).double()
    # Small, so that no unit is dead or saturated.
    randomize(encoder, 1, 0.7)
    x = torch.randn(
        1,
        TIME,
        3,
        generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
        requires_grad=True,
    )
    outputs = encoder(x, LENGTHS)[0]
    return torch.stack(
        [torch.autograd.grad(row.sum(), x, retain_graph=True)[0][0].ne(0).any(1) for row in outputs]
    )


def apart():
    positions = torch.arange(TIME)
    return positions[None, :] - positions[:, None]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("window", [0, 1, 2, 20])
def test_feedforward_sees_its_window(window, layers):
    part = {"name": "feedforward", "window": window, "layers": layers, "activation": "tanh"}
    assert torch.equal(reach(part), apart().abs() <= window)


@pytest.mark.parametrize("blocks", [1, 2])
def test_dilated_cnn_equals_its_equations(blocks):
    part = {"name": "dilated_cnn", "dilations": [1, 3], "blocks": blocks}
    encoder = ENCODERS.build({"hidden_size": 4, "dropout": 0.0, **part}, 3).double()
    randomize(encoder, 1, 0.7)
    x = torch.randn(TIME, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def convolve(layer, distance, vectors):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        outputs = []
        for time in range(TIME):
            seen = [(0, time - distance), (1, time), (2, time + distance)]
            terms = (weight[:, :, k] @ vectors[at] for k, at in seen if 0 <= at < TIME)
            outputs.append(bias + sum(terms))
        return outputs

    expected = convolve(encoder.first, 1, x.numpy())
    for _ in range(blocks):
        for layer, dilation in zip(encoder.block, [1, 3], strict=True):
            expected = [np.maximum(y, 0) for y in convolve(layer, dilation, expected)]
    padded = torch.nn.functional.pad(x, (0, 0, 0, 3), value=7.0)[None]
    actual = encoder(padded, LENGTHS)[0].detach().numpy()
    np.testing.assert_allclose(actual[:TIME], expected, atol=1e-12)


def test_blocks_of_the_dilated_cnn_only_add_a_bias_at_first():
    encoder = ENCODERS.build({"name": "dilated_cnn", "blocks": 3, "dropout": 0.0}, 3)
    x = torch.randn(1, TIME, 3, generator=torch.Generator().manual_seed(1))
    expected = (encoder.first(x.mT) + INITIAL_BIAS).relu() + 8 * INITIAL_BIAS
    torch.testing.assert_close(encoder(x, LENGTHS), expected.mT)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_recurrent_directions(cell, layers):
    part = {"name": "recurrent", "cell": cell, "layers": layers}
    assert torch.equal(reach({**part, "bidirectional": False}), apart() <= 0)
    assert reach({**part, "bidirectional": True}).all()


def test_recurrent_sizes():
    for bidirectional, size in ((True, 14), (False, 7)):
        encoder = ENCODERS.build(
            {"name": "recurrent", "hidden_size": 7, "bidirectional": bidirectional}, 3
        )
        assert encoder.output_size == size


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", ["feedforward", "recurrent"])
def test_number_of_layers(name, layers):
    """Each layer after the first is as large as the one before."""
    count = [
        sum(
            p.numel()
            for p in ENCODERS.build({"name": name, "layers": n, "hidden_size": 4}, 8).parameters()
        )
        for n in (layers, layers + 1, layers + 2)
    ]
    assert count[2] - count[1] == count[1] - count[0] > 0


@pytest.mark.parametrize("name", ["feedforward", "recurrent"])
def test_dropout_before_every_layer(name):
    """High dropout removes nearly the complete input in training, and nothing in evaluation."""
    part = {"name": name, "layers": 1, "hidden_size": 4, "dropout": 0.999}
    torch.manual_seed(1)
    encoder = ENCODERS.build(part, 3)
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(50, TIME, 3, generator=generator) for _ in range(2))
    lengths = LENGTHS.expand(50)
    encoder.train()
    assert (encoder(x, lengths) == encoder(y, lengths)).all(dim=(1, 2)).float().mean() > 0.8
    encoder.eval()
    assert not (encoder(x, lengths) == encoder(y, lengths)).all(dim=(1, 2)).any()


def test_locked_dropout():
    torch.manual_seed(1)
    dropout = LockedDropout(0.25)
    x = torch.rand(400, 5, 30) + 1
    dropped = dropout(x)
    kept = dropped != 0
    assert torch.equal(kept, kept[:, :1].expand_as(kept)), (
        "the same numbers at every token of a sentence"
    )
    assert not torch.equal(kept[0], kept[1]), "each sentence its own"
    torch.testing.assert_close(dropped[kept], x[kept] / 0.75)
    # Six standard deviations of 12,000 draws.
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.024)
    assert dropout.eval()(x) is x
    assert LockedDropout(0.0).train()(x) is x
