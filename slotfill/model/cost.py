"""What a network costs: its multiply-adds, counted by torch while it reads a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch.utils.flop_counter import FlopCounterMode

from slotfill.data.batching import make_batch
from slotfill.data.sentence import Sentence
from slotfill.model.ensemble import Model
from slotfill.model.network import to_device
from slotfill.model.recurrence import restore_steps


def count_multiply_adds(model: Model, sentences: Sequence[Sentence]) -> int:
    """Return the multiply-adds per token of the sentence of median length.

    Those of products of matrices and convolutions, in a forward pass from tokens to the scores of
    tags; gates, activations, look-ups and decoding are not counted.
    """
    if next(model.parameters()).is_cuda:
        # The counter does not see into the layers of cuDNN.
        model = deepcopy(model).cpu()
        restore_steps(model)
    tokens = sorted((each.tokens for each in sentences), key=len)[len(sentences) // 2]
    was_training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        inputs = to_device(make_batch([tokens], model.indexers), model)
        model(inputs.features, inputs.lengths)
    model.train(was_training)
    # A multiply-add counts as two operations.
    return round(counter.get_total_flops() / 2 / len(tokens))
