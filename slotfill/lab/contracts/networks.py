"""Contracts of networks, with the part that is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.export.builder import ExportError
from slotfill.export.to_onnx import export_model
from slotfill.lab.contracts.requirements import (
    Contract,
    ContractError,
    require,
    require_equal,
    require_finite,
)
from slotfill.lab.contracts.samples import (
    SENTENCES,
    UNKNOWN_WORDS,
    list_tokens,
    make_labelled_batch,
    make_vocab,
    randomize,
)
from slotfill.model.network import Network

Parts = Sequence[Any]
"""Embeddings, encoder, tagger and, if there is one, intent head."""


def _build_network(parts: Parts, seed: int = 1) -> tuple[Network, Vocab]:
    # `torch.manual_seed` also keeps a traceback for each kind of device.
    torch.default_generator.manual_seed(seed)
    vocab = make_vocab()
    return Network(vocab, *parts), vocab


def _require_close(actual: np.ndarray, expected: np.ndarray, message: str) -> None:
    require(np.allclose(actual, expected, atol=1e-5, rtol=1e-7), message)


def network_is_independent_of_the_batch(parts: Parts) -> None:
    model, _ = _build_network(parts)
    model.eval()
    sentences = [sentence.tokens for sentence in SENTENCES[:4]] + UNKNOWN_WORDS
    together = model.emissions(make_batch(sentences, model.indexers))
    require(together.dtype == np.float32, f"emissions must be float32, found {together.dtype}")
    require_finite(torch.from_numpy(together), "the emissions")
    for position in (0, 2, 5, 6):
        tokens = sentences[position]
        alone = model.emissions(make_batch([tokens], model.indexers))
        same = np.allclose(alone[0], together[position, : len(tokens)], atol=1e-5, rtol=1e-7)
        require(same, "the emissions of a sentence depend on the others of the batch")


def network_has_the_mean_of_the_sentences_losses(parts: Parts) -> None:
    model, vocab = _build_network(parts)
    model.double().eval()
    losses = [model.loss(make_labelled_batch(model, vocab, [each])) for each in SENTENCES[:3]]
    together = model.loss(make_labelled_batch(model, vocab, SENTENCES[:3]))
    message = "the loss of a batch is not the mean of its sentences'"
    require_equal(together, torch.stack(losses).mean(), message, 1e-10)


def network_has_the_numerical_gradient_for_every_parameter(parts: Parts) -> None:
    """Along a random direction that keeps the zero vector of padding."""
    model, vocab = _build_network(parts)
    model.double().eval()
    batch = make_labelled_batch(model, vocab, SENTENCES)
    named = {name: each for name, each in model.named_parameters() if each.requires_grad}
    parameters = list(named.values())
    gradients = torch.autograd.grad(model.loss(batch), parameters, allow_unused=True)
    for name, gradient in zip(named, gradients, strict=True):
        require(gradient is not None, f"{name} has no gradient")
        require_finite(gradient, f"the gradient of {name}")
        require((gradient != 0).any(), f"the gradient of {name} is 0")
    start = [parameter.detach().clone() for parameter in parameters]
    randomize(model, 0)
    directions = [parameter.detach().clone() for parameter in parameters]
    ends = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            for parameter, origin, direction in zip(parameters, start, directions, strict=True):
                parameter.copy_(origin + step * direction)
            ends.append(float(model.loss(batch)))
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    difference = abs((ends[0] - ends[1]) / 2e-5 - slope)
    message = "the gradient differs from the numerical gradient"
    require(difference <= max(1e-5 * abs(slope), 1e-7), message)


def network_is_the_same_when_loaded(parts: Parts) -> None:
    model, _ = _build_network(parts)
    batch = make_batch(list_tokens(), model.indexers)
    before = model.eval().emissions(batch)
    saved = save(model.state_dict())
    other = _build_network(parts, seed=2)[0].eval()
    require(not np.array_equal(other.emissions(batch), before), "another seed changes nothing")
    other.load_state_dict(load(saved))
    # The indexers depend only on the vocabulary, which is saved as JSON.
    again = other.emissions(make_batch(list_tokens(), other.indexers))
    require(np.array_equal(again, before), "the emissions differ after saving and loading")
    tables = [network.tagger.transitions() for network in (model, other)]
    if tables[0] is not None:
        for name in ("start", "matrix", "end"):
            same = np.array_equal(*(getattr(table, name) for table in tables))
            require(same, f"transitions.{name} differs after saving and loading")


def network_is_determined_by_the_seed(parts: Parts) -> None:
    """That another seed has other weights is part of `network_is_the_same_when_loaded`."""

    def draw() -> tuple[dict[str, Tensor], float]:
        model, vocab = _build_network(parts)
        loss = model.train().loss(make_labelled_batch(model, vocab, SENTENCES[:4]))
        return model.state_dict(), float(loss.detach())

    (weights, loss), (again, loss_again) = draw(), draw()
    same = all(torch.equal(weights[name], again[name]) for name in weights)
    require(same, "the same seed gives other weights")
    require(loss == loss_again, "the same seed gives another loss in training")


def network_is_exported(parts: Parts) -> None:
    model, vocab = _build_network(parts)
    try:
        export_model(model.eval(), vocab)
    except ExportError as error:
        raise ContractError(f"cannot be exported, so that torch predicts: {error}") from None


CONTRACTS: list[Contract] = [
    network_is_independent_of_the_batch,
    network_has_the_mean_of_the_sentences_losses,
    network_has_the_numerical_gradient_for_every_parameter,
    network_is_the_same_when_loaded,
    network_is_determined_by_the_seed,
]
"""The contracts of a part in a network; `check` adds that of its export."""
