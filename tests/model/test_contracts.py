"""Contracts of every registered part in all options; new files are tested automatically."""

from __future__ import annotations

import inspect

import pytest
from part_cases import all_variants, label, make_labelled_batch, make_vocab, networks

from slotfill.config.registry import REGISTRIES
from slotfill.lab.contracts import (
    NETWORK_CONTRACTS,
    PART_CONTRACTS,
    SENTENCES,
    part_is_documented,
)
from slotfill.model.network import Network

WIRING = {
    "embedding": ["vocab"],
    "cell": ["input_size", "hidden_size", "directions"],
    "encoder": ["input_size"],
    "intent": ["input_size", "vocab"],
    "tagger": ["input_size", "vocab"],
    "generator": ["vocab"],
    "format": [],
    "logger": [],
}


def by_name(contracts):
    return [pytest.param(contract, id=contract.__name__) for contract in contracts]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in REGISTRIES for name in REGISTRIES[kind].names()]
)
def test_summary_and_options_are_documented(kind, name):
    part = REGISTRIES[kind].part(name)
    part_is_documented(part)
    parameters = list(inspect.signature(part.load()).parameters.values())
    wiring = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    expected = WIRING[kind] + (
        ["has_lower_layer"] if getattr(part.load(), "takes_lower_memory", False) else []
    )
    assert wiring == expected, "only wiring is positional; what YAML may set comes after the star"
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(part.options)


@pytest.mark.parametrize(
    ("contract", "part"),
    [
        pytest.param(contract, part.values[0], id=f"{contract.__name__}-{part.id}")
        for kind, contracts in PART_CONTRACTS.items()
        for part in all_variants(kind)
        for contract in contracts
    ],
)
def test_part(contract, part):
    contract(part)


@pytest.mark.parametrize("contract", by_name(NETWORK_CONTRACTS))
@pytest.mark.parametrize("parts", networks(inner=False))
def test_network(contract, parts):
    contract(parts)


@pytest.mark.parametrize("parts", networks(inner=False))
def test_noise_is_of_training_only(parts):
    """In evaluation there is none: `network_is_the_same_when_loaded`."""
    vocab = make_vocab()
    model = Network(vocab, *parts)
    batch = make_labelled_batch(model, vocab, SENTENCES)
    labels = " ".join(label(part) for part in (*parts[0], *parts[1:]))
    noisy = "=0.5" in labels or "=hard" in labels
    noisy |= any(getattr(module, "has_kl_term", False) for module in model.modules())
    asleep = float(model.eval().loss(batch).detach())
    awake = [float(model.train().loss(batch).detach()) for _ in range(4 if noisy else 1)]
    assert len({*awake}) > 1 if noisy else awake == [asleep]
