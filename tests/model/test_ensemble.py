"""Ensemble: mean outputs of several networks, in training, a run folder and both engines."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from slotfill.config.validate import parse_config
from slotfill.data.batching import make_batch
from slotfill.data.schemes import slots_to_tags
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.export.to_onnx import export_model
from slotfill.inference.decoding import decode
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.model.build import build_model, check_buildable
from slotfill.model.ensemble import Ensemble
from slotfill.model.network import to_device

SENTENCES = [
    Sentence.from_tokens(
        ["leave", "New", "York", "at", "11:30"], [Slot("from", 1, 3), Slot("time", 4, 5)]
    ),
    Sentence.from_tokens(["arrive", "in", "Taipei"], [Slot("to", 2, 3)]),
    Sentence.from_tokens(["yes"], []),
]
PARTS = ["embedding=[{name: word, size: 5}, {name: ngrams, size: 4}]", "encoder.hidden_size=6"]


def build_ensemble(*overrides: str, members: int = 3, seed: int = 1) -> Ensemble:
    config = parse_config("", "x", [*PARTS, *overrides, f"ensemble_size={members}"])
    torch.manual_seed(seed)
    return build_model(config, Vocab.from_sentences(SENTENCES, "iob2")).eval()


def member_emissions(model, sentences=SENTENCES):
    """Return the outputs of each member."""
    batch = make_batch([each.tokens for each in sentences], model.indexers)
    return batch, [member.emissions(batch) for member in model.members]


def test_each_member_has_separate_weights():
    model = build_ensemble()
    _, (one, two, three) = member_emissions(model)
    assert not np.allclose(one, two) and not np.allclose(two, three)
    ids = {id(parameter) for parameter in model.parameters()}
    assert len(ids) == sum(len(list(member.parameters())) for member in model.members)


def test_an_ensemble_of_one_is_a_single_network():
    assert not isinstance(build_ensemble(members=1), Ensemble)


def test_members_share_indexers():
    model = build_ensemble()
    assert all(member.indexers is model.indexers for member in model.members)
    assert all(
        part.indexer is lookup
        for member in model.members
        for part, lookup in zip(member.embeddings, model.indexers, strict=True)
    )


@pytest.mark.parametrize("tagger", ["crf", "softmax"])
def test_emissions_and_transitions_are_averaged(tagger):
    model = build_ensemble(f"tagger={tagger}")
    with torch.no_grad():
        for member in model.members:
            for parameter in member.tagger.parameters():
                parameter.uniform_(-2, 2)
    batch, found = member_emissions(model)
    assert np.allclose(model.emissions(batch), np.mean(found, axis=0), atol=1e-6)
    if tagger == "crf":
        between = np.mean([member.transitions().matrix for member in model.members], axis=0)
        assert np.allclose(model.transitions().matrix, between)
        assert np.isinf(between).any(), "what the scheme forbids stays forbidden"
    else:
        assert model.transitions() is None
    assert model.predict(batch)[0] == decode(
        model.emissions(batch), batch.lengths, model.transitions()
    )


def test_intent_logits_are_averaged():
    vocab = Vocab.from_sentences(SENTENCES, "iob2")
    vocab.intents.update({"book": 2, "greet": 1})
    config = parse_config(
        "", "x", [*PARTS, "intent={name: attention, feed: true}", "ensemble_size=2"]
    )
    model = build_model(config, vocab).eval()
    inputs = to_device(make_batch([each.tokens for each in SENTENCES], model.indexers), model)
    with torch.inference_mode():
        one, two = (
            member(inputs.features, inputs.lengths).intent_logits for member in model.members
        )
        both = model(inputs.features, inputs.lengths).intent_logits
    assert torch.allclose(both, (one + two) / 2)
    _, intents = model.predict(make_batch([each.tokens for each in SENTENCES], model.indexers))
    assert intents == both.argmax(1, keepdim=True).tolist()


def test_each_member_has_the_gradient_of_its_own_loss():
    """The gradient of each member is that of its own loss, divided by their number."""
    model = build_ensemble(
        "tagger.dropout=0", "encoder.dropout=0", "embedding=[{name: word, unknown_rate: 0}]"
    ).train()
    ids = Vocab.from_sentences(SENTENCES, "iob2").tag_ids
    tags = [
        [ids[tag] for tag in slots_to_tags(each.slots, len(each.tokens), "iob2")]
        for each in SENTENCES
    ]
    batch = make_batch([each.tokens for each in SENTENCES], model.indexers, tags)
    gradients = torch.autograd.grad(
        model.loss(batch), list(model.members[1].parameters()), materialize_grads=True
    )
    own = torch.autograd.grad(
        model.members[1].loss(batch), list(model.members[1].parameters()), materialize_grads=True
    )
    for shared, single in zip(gradients, own, strict=True):
        assert torch.allclose(3 * shared, single, atol=1e-6)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        ("tagger=softmax",),
        (
            (
                "encoder=[{name: feedforward, window: 0, hidden_size: 5}, {name: recurrent,"
                " hidden_size: 4}]"
            ),
        ),
    ],
)
def test_the_exported_ensemble_predicts_the_same(parts):
    """export_model compares emissions and tags with torch, on known and unknown words."""
    model = build_ensemble(*parts)
    vocab = Vocab.from_sentences(SENTENCES, "iob2")
    engine = OnnxEngine(export_model(model, vocab), vocab)
    tokens = [each.tokens for each in SENTENCES]
    assert engine.predict(make_batch(tokens, engine.indexers)) == model.predict(
        make_batch(tokens, model.indexers)
    )


def test_beam_search_cannot_be_averaged():
    config = parse_config("", "x", ["tagger={name: focus, beam: 2}", "ensemble_size=2"])
    with pytest.raises(
        ConfigError, match=r"^command line: ensemble_size: this tagger decodes by beam search"
    ):
        check_buildable(config)


def test_an_ensemble_is_trained_and_used_on_the_command_line(desk, cli):
    trained = cli(
        "train",
        "tiny.yaml",
        "ensemble_size=2",
        "train.epochs=1",
        "train.processes=2",
        "--profile",
        "--out",
        "run",
    )
    assert (trained.code, trained.err) == (0, "")
    sentence = "leave Taipei on November 2nd"
    torch_result, onnx_result = (
        cli("predict", "run", sentence, "--engine", engine) for engine in ("torch", "onnx")
    )
    assert torch_result.code == 0 and json.loads(torch_result.out) == json.loads(onnx_result.out)
    assert "network 1 of 2" in cli("inspect", "run", sentence).out
    refused = cli("train", "tiny.yaml", "ensemble_size=0", "--out", "other")
    assert refused.code == 2 and "ensemble_size" in refused.err and "at least 1" in refused.err
