"""Low-rank factorization of the first recurrent layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slotfill.config.validate import parse_config
from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.errors import UsageError
from slotfill.export.low_rank import reduce_input_rank
from slotfill.export.to_onnx import export_model
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.model.build import build_model
from slotfill.model.network import to_device

WORDS = ["leave", "Rome", "for", "Oslo", "on", "Monday", "arrive", "in"]
VOCAB = Vocab(dict(zip(WORDS, (9, 1, 8, 1, 7, 2, 5, 6), strict=True)), ["O", "B-city"], "iob2")
TOKENS = [["leave", "Rome", "on", "Monday"], ["arrive", "in", "Tirana"]]


def build_model_with(*overrides):
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
def test_low_rank_weights_are_reproduced_exactly(cell, members):
    model = build_model_with(f"encoder.cell={cell}", f"ensemble_size={members}")
    with torch.no_grad():
        for member in model.members:
            weight = member.encoders[0].layers[0].input_weight
            basis = torch.randn(weight.shape[1], 2)
            weight.copy_(torch.stack([basis @ torch.randn(2, weight.shape[2]) for _ in weight]))
    cut = reduce_input_rank(model, VOCAB, 2)
    assert cut.members[0].encoders[1].layers[0].input_weight.shape[1] == 2
    for one, other in zip(emissions(model), emissions(cut), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_approximation_error_is_minimal():
    """No product of rank 3 has a smaller error on the training words than the SVD says."""
    model = build_model_with()
    weight = torch.cat([*model.encoders[0].layers[0].input_weight.detach().double()], dim=1)
    batch = to_device(make_batch([WORDS], model.indexers), model)
    x = model.encode_tokens(batch.features)[0].detach().double()
    counts = torch.tensor([float(VOCAB.tokens[word]) for word in WORDS], dtype=torch.float64)
    cut = reduce_input_rank(model, VOCAB, 3)
    product = cut.encoders[0].weight.detach().double() @ torch.cat(
        [*cut.encoders[1].layers[0].input_weight.detach().double()], dim=1
    )
    lost = (counts[:, None] * (x @ (weight - product)) ** 2).sum()
    singular = torch.linalg.svdvals(counts.sqrt()[:, None] * (x @ weight))
    assert float(lost) == pytest.approx(float((singular[3:] ** 2).sum()), rel=1e-3)


def test_reduced_model_is_exported():
    model = build_model_with(
        "encoder=[{name: feedforward, window: 0, hidden_size: 6}, {name: recurrent,"
        " hidden_size: 4}]"
    )
    cut = reduce_input_rank(model, VOCAB, 3)
    engine = OnnxEngine(export_model(cut, VOCAB), VOCAB)
    assert engine.predict(make_batch(TOKENS, engine.indexers)) == cut.predict(
        make_batch(TOKENS, cut.indexers)
    )
    assert make_batch(TOKENS, engine.indexers).features[0][0].shape[2] == 3, (
        "what is kept of a token"
    )


def test_rank_must_be_below_the_input_size():
    with pytest.raises(
        UsageError,
        match="--rank 6: must be below the input size of the first recurrent layer, 6",
    ):
        reduce_input_rank(build_model_with(), VOCAB, 6)
    with pytest.raises(UsageError, match="--rank: the first encoder is not recurrent"):
        reduce_input_rank(build_model_with("encoder={name: feedforward, window: 1}"), VOCAB, 2)


def test_export_rank_option(desk, cli):
    assert cli("train", "tiny.yaml", "train.epochs=1", "--out", "run").code == 0
    result = cli("export", "run", "--rank", "4", "--quantize", "int8")
    assert (result.code, result.err) == (0, "")
    assert "test: F1" in result.out and "before" in result.out
    assert cli("predict", "run", "leave Taipei").code == 0
    refused = cli("export", "run", "--rank", "4000")
    assert refused.code == 2 and "must be below the input size" in refused.err
