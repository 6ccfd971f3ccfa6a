"""What computes a network: one face for torch, which trains, and ONNX Runtime, which predicts
without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

    from slotfill.data.batching import Batch
    from slotfill.data.indexers import Indexer

EngineName = Literal["auto", "onnx", "torch"]


class Engine(Protocol):
    """A batch of what its indexers give goes in, tags and intents come out."""

    @property
    def indexers(self) -> Sequence[Indexer]: ...

    def predict(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of the best tags of each sentence, and of its intents; no list where none
        are learned.
        """
        ...

    def emissions(self, batch: Batch) -> np.ndarray:
        """Return the scores `(batch, time, tags)` that the tags are decoded from; any number at
        padding.
        """
        ...
