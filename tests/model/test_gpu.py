"""A GPU computes what the CPU does, and training on it is resumed exactly.

They run with CUDA_VISIBLE_DEVICES=0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from part_cases import SENTENCES, make_labelled_batch, make_vocab, networks, randomize

import slotfill
from slotfill.config.builtin import load_config
from slotfill.data.batching import make_batch
from slotfill.model.network import Network
from slotfill.runs.device import resolve_device
from slotfill.runs.folder import RunFolder
from slotfill.runs.train import train

NO_GPU = not torch.cuda.is_available()
pytestmark = pytest.mark.skipif(NO_GPU, reason="needs CUDA_VISIBLE_DEVICES=0")


class Stop(Exception):
    """Ends training like a kill, without cleaning up."""


def train_taipei(folder: Path, *overrides: str, after: int | None = None, resume: bool = False):
    """Train on the GPU into `folder`; be killed when `after` epochs are saved."""

    def report(progress):
        if after is not None and len(progress.history) == after and progress.epoch > after:
            raise Stop

    config = load_config("taipei", ["train.epochs=3", "train.seed=2", *overrides])[1]
    run = RunFolder(folder, resume=resume)
    return train(run.config if resume else config, run, report, device="cuda").path


@pytest.mark.parametrize("parts", networks(options=False))
def test_a_network_computes_the_same(parts):
    vocab = make_vocab("iob2")
    found = []
    for device in ("cpu", resolve_device("cuda")):
        torch.manual_seed(1)
        model = Network(vocab, *parts).eval()
        randomize(model, 3, 0.7)
        model.to(device)
        scores = model.scores(make_batch([each.tokens for each in SENTENCES], model.indexers))
        found.append(scores.emissions)
    lengths = [len(each.tokens) for each in SENTENCES]
    for row, one, length in zip(*found, lengths, strict=True):
        np.testing.assert_allclose(row[:length], one[:length], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parts", networks(options=False))
def test_gradients_are_deterministic(parts, monkeypatch):
    vocab = make_vocab("iob2")
    device = resolve_device("cuda")
    torch.use_deterministic_algorithms(True)
    found = []
    for _ in range(3):
        torch.manual_seed(1)
        model = Network(vocab, *parts).train().to(device)
        model.loss(make_labelled_batch(model, vocab, [*SENTENCES] * 50)).backward()
        found.append([each.grad for each in model.parameters() if each.grad is not None])
    torch.use_deterministic_algorithms(False)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "mut1"])
def test_a_large_recurrent_network_computes_the_same(cell):
    """In full precision, not that of TF32."""
    encoder = {"name": "recurrent", "hidden_size": 256, "layers": 2, "cell": cell}
    parts = ([{"name": "word", "size": 256}], encoder, "crf")
    vocab = make_vocab("iob2")
    losses, gradients, emissions = [], [], []
    for device in ("cpu", resolve_device("cuda")):
        torch.manual_seed(1)
        model = Network(vocab, *parts).eval().to(device)
        loss = model.loss(make_labelled_batch(model, vocab, SENTENCES)).mean()
        loss.backward()
        losses.append(loss.item())
        gradients.append([each.grad.cpu().numpy() for each in model.parameters()])
        batch = make_batch([["leave", "Taipei", "at", "7"] * 10], model.indexers)
        emissions.append(model.scores(batch).emissions)
    np.testing.assert_allclose(*emissions, atol=1e-5, rtol=1e-5)
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["encoder.cell=mut1"],
        ["embedding=[word, char_cnn, ngrams]", "encoder={name: recurrent, layers: 2}"],
    ],
    ids=["default", "compiled", "deep"],
)
def test_a_stopped_training_is_resumed_bit_for_bit(overrides, tmp_path):
    expected = train_taipei(tmp_path / "whole", *overrides)
    with pytest.raises(Stop):
        train_taipei(tmp_path / "halting", *overrides, after=1)
    resumed = train_taipei(tmp_path / "halting", resume=True)
    for name in ("model.safetensors", "vocab.json"):
        assert (resumed / name).read_bytes() == (expected / name).read_bytes()


def test_a_run_predicts_the_same_on_all_devices_and_engines(tmp_path):
    run = train_taipei(tmp_path / "run", "encoder.hidden_size=200")
    texts = ["arrive Taipei on November 2nd", "leave Taipei", "leave Taipei " * 100, ""]
    ours, *others = [
        list(slotfill.load(run, device=device, engine=engine).predict(texts))
        for device, engine in (("cuda", "torch"), ("cpu", "torch"), ("cpu", "onnx"))
    ]
    assert any(prediction.slots for prediction in ours)
    for other in others:
        for one, two in zip(ours, other, strict=True):
            assert [slot[:4] for slot in one.slots] == [slot[:4] for slot in two.slots]
            confidences = [[slot.confidence for slot in each.slots] for each in (one, two)]
            np.testing.assert_allclose(*confidences, atol=1e-5)
