"""Contracts of every registered part in all options; new files are tested automatically."""

from __future__ import annotations

import inspect

import pytest
from part_cases import all_variants, label, make_labelled_batch, make_vocab, networks, small

from slotfill.config.registry import REGISTRIES
from slotfill.lab.contracts import networks as network_contracts
from slotfill.lab.contracts.cells import cell_has_the_documented_shapes
from slotfill.lab.contracts.check import PART_CONTRACTS
from slotfill.lab.contracts.encoders import (
    encoder_is_determined_by_the_seed_and_its_weights,
    encoder_is_independent_of_padding,
)
from slotfill.lab.contracts.networks import (
    network_has_the_mean_of_the_sentences_losses,
    network_is_independent_of_the_batch,
)
from slotfill.lab.contracts.parts import part_is_documented
from slotfill.lab.contracts.samples import SENTENCES
from slotfill.model.network import Network


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in REGISTRIES for name in REGISTRIES[kind].names()]
)
def test_summary_and_options_are_documented(kind, name):
    part = REGISTRIES[kind].part(name)
    part_is_documented(part)
    parameters = list(inspect.signature(part.load()).parameters.values())
    wiring = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    expected = [*REGISTRIES[kind].arguments]
    expected += ["has_lower_layer"] * getattr(part.load(), "takes_lower_memory", False)
    assert wiring == expected, "only wiring is positional; what YAML may set comes after the star"
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(part.options)


def parts_alone():
    """Each part in all its options with its contracts, without those that another has as well."""
    # Steps are computed with their shapes checked to compare sequences with them.
    implied = {cell_has_the_documented_shapes}
    # A cell's options are tried in the contracts of cells; what an encoder adds is that sentences
    # end before their padding, and how weights are drawn and saved.
    of_cells_in_encoders = {
        encoder_is_independent_of_padding,
        encoder_is_determined_by_the_seed_and_its_weights,
    }
    for kind, contracts in PART_CONTRACTS.items():
        for part in all_variants(kind):
            if kind == "generator" and "cell" in part.values[0]:
                continue  # A cell's options are tried in the contracts of cells.
            cell = part.values[0].get("cell") if kind == "encoder" else None
            if cell is None or cell == small("cell", cell["name"]):
                chosen = {*contracts} - implied
            else:
                chosen = of_cells_in_encoders
            kept = [contract for contract in contracts if contract in chosen]
            yield pytest.param(part.values[0], kept, id=f"{kind}-{part.id}")


@pytest.mark.parametrize(("part", "contracts"), [*parts_alone()])
def test_part_has_its_contracts(part, contracts):
    for contract in contracts:
        contract(part)


# That options change nothing in these is a contract of the part on its own.
OF_PARTS_ALONE = {network_is_independent_of_the_batch, network_has_the_mean_of_the_sentences_losses}
ONCE = [parts.values[0] for parts in networks(options=False)]


@pytest.mark.parametrize("parts", networks(inner=False))
def test_network_has_its_contracts(parts):
    for contract in network_contracts.CONTRACTS:
        if parts in ONCE or contract not in OF_PARTS_ALONE:
            contract(parts)
    check_noise(parts)


def check_noise(parts):
    """Check that noise is of training only; in evaluation, `network_is_the_same_when_loaded`."""
    vocab = make_vocab()
    model = Network(vocab, *parts)
    batch = make_labelled_batch(model, vocab, SENTENCES)
    labels = " ".join(label(part) for part in (*parts[0], *parts[1:]))
    noisy = "=0.5" in labels or "=hard" in labels
    noisy |= any(getattr(module, "has_kl_term", False) for module in model.modules())
    asleep = float(model.eval().loss(batch).detach())
    awake = [float(model.train().loss(batch).detach()) for _ in range(4 if noisy else 1)]
    assert len({*awake}) > 1 if noisy else awake == [asleep]
