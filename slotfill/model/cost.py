"""What a network costs: its multiply-adds, counted by torch while it reads a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from slotfill.data.batching import make_batch
from slotfill.data.sentence import Sentence
from slotfill.model.ensemble import Model
from slotfill.model.network import to_device
from slotfill.model.recurrence import restore_steps


class _OperationCounter(TorchDispatchMode):
    """Adds up what `flop_registry` counts of each operation.

    `FlopCounterMode` does the same, but imports torch's compiler, which takes 1.4 s.
    """

    operations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        count: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=output)
        return output


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
    with torch.no_grad(), _OperationCounter() as counter:
        inputs = to_device(make_batch([tokens], model.indexers), model)
        model(inputs.features, inputs.lengths)
    model.train(was_training)
    # A multiply-add counts as two operations.
    return round(counter.operations / 2 / len(tokens))
