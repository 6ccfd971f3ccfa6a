"""Cases for tests of cells against equations: sentences, an encoder, and its weights in NumPy."""

from __future__ import annotations

import numpy as np
import torch
from part_cases import randomize

from slotfill.config.registry import ENCODERS

LENGTHS = [9, 1, 4, 7]
HIDDEN = 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


FUNCTIONS = {"sigmoid": sigmoid, "tanh": np.tanh, "relu": relu, "linear": lambda x: x}


class Weights:
    """The parameters of one direction of a cell: `w("bias", 2)` is its bias in two blocks."""

    def __init__(self, cell, way):
        self.tensors = {name: p.detach().numpy()[way] for name, p in cell.named_parameters()}

    def __call__(self, name, blocks=1):
        found = np.split(self.tensors[name], blocks, axis=1)
        return found[0] if blocks == 1 else found


def build_encoder(cell, size, layers=1):
    options = {"cell": cell, "hidden_size": HIDDEN, "layers": layers, "dropout": 0.0}
    encoder = ENCODERS.build({"name": "recurrent", **options}, size).double().eval()
    randomize(encoder, 1)
    return encoder


def batch(size):
    """Return sentences of LENGTHS with random values at padding."""
    x = torch.randn(
        len(LENGTHS),
        max(LENGTHS),
        size,
        generator=torch.Generator().manual_seed(2),
        dtype=torch.float64,
    )
    return x, torch.tensor(LENGTHS)


def both_ways(cell, x, equations):
    """Return the outputs of a sentence `x` `(time, size)` in both directions, from `equations`."""
    forwards = list(equations(Weights(cell, 0), x))
    backwards = list(equations(Weights(cell, 1), x[::-1]))[::-1]
    return np.concatenate([forwards, backwards], axis=1)
