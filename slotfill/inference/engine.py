"""The common interface of the engines: torch, and ONNX Runtime, which predicts without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slotfill.inference.decoding import Scores, select_intents

if TYPE_CHECKING:
    import numpy as np

    from slotfill.data.batching import Batch
    from slotfill.data.indexers import Indexer


class Engine:
    """A network that computes the scores of a batch; a subclass implements `scores`."""

    indexers: Sequence[Indexer]
    """What turns tokens into the features of a batch."""
    is_multi_intent: bool
    """Whether a sentence may have several intents."""

    def scores(self, batch: Batch) -> Scores:
        """Return the scores of a batch."""
        raise NotImplementedError

    def emissions(self, batch: Batch) -> np.ndarray:
        """Return the emissions `(batch, time, tags)`; any number at padding."""
        return self.scores(batch).emissions

    def predict(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of each sentence's tags and intents; no intents without a head."""
        scores = self.scores(batch)
        logits = scores.intent_logits
        intents = [] if logits is None else select_intents(logits, self.is_multi_intent)
        return scores.best_tags(batch.lengths), intents
