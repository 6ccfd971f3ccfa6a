"""The auxiliary language model: its loss, its requirements, and that saved runs have none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from slotfill.config.validate import parse_config
from slotfill.data.indexers import UNKNOWN
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.build import build_model, check_buildable
from slotfill.model.language_model import LanguageModelHead, target_vocabulary, to_target_ids

VOCAB = Vocab({"to": 5, "Rome": 2, "rome": 2, "fly": 1}, ["O"], "iob2")


def build(*overrides):
    config = parse_config(
        "", "x", ["embedding={name: word, size: 4}", "encoder.hidden_size=3", *overrides]
    )
    return build_model(config, VOCAB, learning=True)


def test_targets_are_lowercase():
    ids = target_vocabulary(VOCAB)
    assert ids == {"to": 2, "rome": 3, "fly": 4}
    assert to_target_ids(["Fly", "TO", "Oslo"], ids) == [4, 2, UNKNOWN]


def test_rare_words_share_one_target(monkeypatch):
    monkeypatch.setattr("slotfill.model.language_model.VOCAB_SIZE", 1)
    assert target_vocabulary(VOCAB) == {"to": 2}
    head = build("train.language_model_weight=1").language_model.heads[0]
    assert head[-1].out_features == 3, "beyond the sentence, rare, and the one word"


@pytest.mark.parametrize("both", [True, False])
def test_loss_equals_the_equations(both):
    """Against a loop over words in 64 bits, with a shorter sentence in the batch."""
    torch.manual_seed(1)
    model = build(
        f"encoder.bidirectional={str(both).lower()}", "train.language_model_weight=0.5"
    ).double()
    words, lengths = torch.tensor([[4, 2, 3], [2, 1, 0]]), torch.tensor([3, 2])
    states = torch.randn(2, 3, 3 * (1 + both), dtype=torch.float64)
    found = model.language_model.loss(states, lengths, words)
    expected = 0.0
    for sentence, length in enumerate(lengths.tolist()):
        for position in range(length):
            for reading, head in enumerate(model.language_model.heads):
                neighbour = position - 1 if reading else position + 1
                target = int(words[sentence, neighbour]) if 0 <= neighbour < length else 0
                inner, outer = head[0], head[2]
                h = states[sentence, position, 3 * reading : 3 * reading + 3].detach().numpy()
                d = np.tanh(inner.weight.detach().numpy() @ h + inner.bias.detach().numpy())
                scores = outer.weight.detach().numpy() @ d + outer.bias.detach().numpy()
                expected -= float(scores[target]) - math.log(np.exp(scores).sum())
    assert math.isclose(found.item(), 0.5 * expected / 2, rel_tol=1e-9)


@pytest.mark.parametrize(
    "encoder",
    [
        "encoder={name: recurrent, layers: 2}",
        "encoder={name: feedforward, window: 1}",
        "encoder=[self_attention, recurrent]",
    ],
)
def test_a_non_causal_encoder_is_refused(encoder):
    config = parse_config("", "x", [encoder, "train.language_model_weight=0.1"])
    with pytest.raises(
        ConfigError,
        match=r"^command line: train.language_model_weight: needs a first encoder that is "
        "recurrent",
    ):
        check_buildable(config)


def test_contextual_embeddings_are_refused():
    model = build()
    model.embeddings[0].contextual = True
    with pytest.raises(ConfigError, match="over embeddings of single words"):
        LanguageModelHead(model.embeddings, model.encoders[0], VOCAB, 0.1)


@pytest.mark.parametrize("average", ["0.9", "0"])
def test_a_saved_run_has_no_language_model(desk, cli, average):
    words = ("train", "tiny.yaml", "train.epochs=1", f"train.ema_decay={average}")
    assert cli(*words, "--out", "plain").code == 0
    auxiliary = cli(
        *words,
        "train.language_model_weight=0.1",
        "train.processes=2",
        "ensemble_size=2",
        "--out",
        "auxiliary",
    )
    assert (auxiliary.code, auxiliary.err) == (0, "")
    assert not [name for name in load_file("auxiliary/model.safetensors") if "language" in name]
    numbers = [
        sum(array.size for array in load_file(f"{run}/model.safetensors").values())
        for run in ("plain", "auxiliary")
    ]
    assert numbers[1] == 2 * numbers[0]
    assert f"{numbers[1]:,} parameters" in auxiliary.out
    assert cli("evaluate", "auxiliary").code == 0


def test_language_model_changes_the_learned_weights(desk, cli):
    for weight in (0, 1):
        assert (
            cli(
                "train",
                "tiny.yaml",
                "train.epochs=1",
                f"train.language_model_weight={weight}",
                "--out",
                weight,
            ).code
            == 0
        )
    plain, auxiliary = (load_file(f"{weight}/model.safetensors") for weight in (0, 1))
    assert any(not np.array_equal(plain[name], auxiliary[name]) for name in plain)
