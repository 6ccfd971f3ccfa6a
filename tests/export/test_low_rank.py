"""A first layer that reads fewer numbers of a token: how near it comes, and where it cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slotfill.config.validate import parse_config
from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.errors import UsageError
from slotfill.export.low_rank import narrowed
from slotfill.export.to_onnx import export_model
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.model.build import build_model

WORDS = ["leave", "Rome", "for", "Oslo", "on", "Monday", "arrive", "in"]
VOCAB = Vocab(dict(zip(WORDS, (9, 1, 8, 1, 7, 2, 5, 6), strict=True)), ["O", "B-city"], "iob2")
TOKENS = [["leave", "Rome", "on", "Monday"], ["arrive", "in", "Tirana"]]


def model_of(*overrides):
    torch.manual_seed(1)
    config = parse_config(
        "", "x", ["embedding=[{name: word, size: 6}]", "encoder.hidden_size=4", *overrides]
    )
    return build_model(config, VOCAB).eval()


def emissions(model):
    batch = make_batch(TOKENS, model.indexers)
    found = model.emissions(batch)
    return [row[:length] for row, length in zip(found, batch.lengths, strict=True)]


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_weights_of_a_low_rank_are_read_as_before(cell, members):
    model = model_of(f"encoder.cell={cell}", f"ensemble_size={members}")
    with torch.no_grad():
        for member in model.members:
            weight = member.encoders[0].layers[0].input_weight
            basis = torch.randn(weight.shape[1], 2)
            weight.copy_(torch.stack([basis @ torch.randn(2, weight.shape[2]) for _ in weight]))
    cut = narrowed(model, VOCAB, 2)
    assert cut.members[0].encoders[1].layers[0].input_weight.shape[1] == 2
    for one, other in zip(emissions(model), emissions(cut), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_is_lost_is_the_least():
    """Of what the layer makes of the words as training has them, no rank-3 product loses less than
    the SVD says.
    """
    model = model_of()
    weight = torch.cat([*model.encoders[0].layers[0].input_weight.detach().double()], dim=1)
    features, _ = model.to_device(make_batch([WORDS], model.indexers))
    x = model.embed(features)[0].detach().double()
    counts = torch.tensor([float(VOCAB.tokens[word]) for word in WORDS], dtype=torch.float64)
    cut = narrowed(model, VOCAB, 3)
    product = cut.encoders[0].weight.detach().double() @ torch.cat(
        [*cut.encoders[1].layers[0].input_weight.detach().double()], dim=1
    )
    lost = (counts[:, None] * (x @ (weight - product)) ** 2).sum()
    singular = torch.linalg.svdvals(counts.sqrt()[:, None] * (x @ weight))
    assert float(lost) == pytest.approx(float((singular[3:] ** 2).sum()), rel=1e-3)


def test_exported():
    model = model_of(
        "encoder=[{name: feedforward, window: 0, hidden_size: 6}, {name: recurrent,"
        " hidden_size: 4}]"
    )
    cut = narrowed(model, VOCAB, 3)
    engine = OnnxEngine(export_model(cut, VOCAB, "digest"), VOCAB, "digest")
    assert engine.tags(make_batch(TOKENS, engine.indexers)) == cut.tags(
        make_batch(TOKENS, cut.indexers)
    )
    assert make_batch(TOKENS, engine.indexers).features[0][0].shape[2] == 3, (
        "what is kept of a token"
    )


def test_where_it_cannot_be_had():
    with pytest.raises(
        UsageError,
        match="--rank 6: the first recurrent layer reads no more than 6 numbers of a token",
    ):
        narrowed(model_of(), VOCAB, 6)
    with pytest.raises(UsageError, match="--rank: the first encoder is not recurrent"):
        narrowed(model_of("encoder={name: feedforward, window: 1}"), VOCAB, 2)


def test_through_the_command_line(desk, cli):
    assert cli("train", "tiny.yaml", "train.epochs=1", "--out", "run").code == 0
    result = cli("export", "run", "--rank", "4", "--quantize", "int8")
    assert (result.code, result.err) == (0, "")
    assert "test: F1" in result.out and "before" in result.out
    assert cli("predict", "run", "leave Taipei").code == 0
    refused = cli("export", "run", "--rank", "4000")
    assert refused.code == 2 and "no more than" in refused.err
