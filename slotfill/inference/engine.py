"""The common interface of the engines: torch, and ONNX Runtime, which predicts without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

    from slotfill.data.batching import Batch
    from slotfill.data.indexers import Indexer

EngineName = Literal["auto", "onnx", "torch"]


class Engine(Protocol):
    """A network that predicts the tags and intents of a batch."""

    @property
    def indexers(self) -> Sequence[Indexer]:
        """What turns tokens into the features of a batch."""
        ...

    def predict(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of each sentence's tags and intents; no intents without a head."""
        ...

    def emissions(self, batch: Batch) -> np.ndarray:
        """Return the emissions `(batch, time, tags)`; any number at padding."""
        ...
