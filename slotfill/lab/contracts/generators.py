"""Contracts of generators."""

from __future__ import annotations

import torch

from slotfill.config.registry import (
    GENERATORS,
)
from slotfill.lab.contracts.requirements import (
    Contract,
    Part,
    require_arguments,
    require_grad,
    require_pair,
    require_result,
    require_tensor,
)
from slotfill.lab.contracts.samples import (
    SENTENCES,
    make_labelled_batch,
    make_vocab,
)
from slotfill.model.generators.base import Generator, Terms
from slotfill.model.network import Network


def generator_has_the_documented_shapes(part: Part) -> None:
    generator: Generator = GENERATORS.build(part, make_vocab()).eval()
    network = Network(make_vocab(), ["word"], "feedforward", "softmax")
    symbols, lengths = generator.encode(make_labelled_batch(network, make_vocab(), SENTENCES))
    like, count = torch.zeros(()), len(SENTENCES)
    require_arguments(generator.terms, [symbols, lengths], "symbols and lengths")
    terms = generator.terms(symbols, lengths)
    found = type(terms).__name__
    require_result(isinstance(terms, Terms), f"terms() must return Terms, found {found}")
    for name, tensor in terms._asdict().items():
        require_tensor(tensor, (count,), like, f"{name} of terms()")
    require_grad(terms.log_likelihood, "log_likelihood of terms()")
    random = torch.Generator().manual_seed(1)
    require_arguments(generator.start, [count, random], "batch and random")
    memory = generator.start(count, random)
    previous = torch.zeros(count, dtype=torch.long)
    require_arguments(generator.next, [previous, memory, random], "previous, memory and random")
    for _ in range(2):
        result = generator.next(previous, memory, random)
        require_pair(result, "next()", "the states of the next symbols and the memory")
        states, memory = result
        shape = (count, generator.projection.in_features)
        require_tensor(states, shape, like, "the states of next()")


CONTRACTS: list[Contract] = [
    generator_has_the_documented_shapes,
]
"""The first is what the others rest on."""
