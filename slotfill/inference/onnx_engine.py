"""Prediction with ONNX Runtime, without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from slotfill.data.batching import Batch
from slotfill.data.indexers import Indexer
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.inference.decoding import Transitions, decode, select_intents
from slotfill.version import FORMAT

# Read by ONNX Runtime on import: it would send usage statistics otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MAX_CACHED_TOKENS = 32768
MAX_CACHED_FLOATS = 5_000_000
"""Limits of the token vector cache, which is cleared when either is exceeded."""

EMBEDDING, NETWORK = ONNX = ("embedding.onnx", "model.onnx")
"""The two models of a network: from token ids to token vectors, and from there to the outputs."""

Source = Path | Mapping[str, bytes]
"""A run folder, or the contents of its ONNX files by name."""


class OnnxEngine:
    """An exported network; copying or pickling it opens the models again."""

    def __init__(self, source: Source, vocab: Vocab, vocab_digest: str) -> None:
        """Open the models in `source`.

        Raises:
            RunError: A file is not what slotfill wrote for this vocabulary.
        """
        self._arguments = (
            source.absolute() if isinstance(source, Path) else source,
            vocab,
            vocab_digest,
        )
        embedding, network = (_Session(source, name, vocab_digest) for name in ONNX)
        for session, key in ((embedding, "indexers"), (network, "transitions")):
            if key not in session.metadata:
                raise _broken(session.path, "the other half of a network")
        if embedding.metadata.get("weights") != network.metadata.get("weights"):
            raise _broken(network.path, f"not of the same run as {EMBEDDING}")
        indexers = [vocab.lookup(settings) for settings in embedding.metadata["indexers"]]
        self.indexers: list[Indexer] = [
            TokenVectorCache(
                indexers, embedding.metadata["inputs"], lambda ids: embedding.run(ids)[0]
            )
        ]
        self._network = network
        transitions = network.metadata["transitions"]
        self.transitions = None if transitions is None else Transitions.from_json(transitions)
        self.texts: dict[str, str] = network.metadata["texts"]
        self.is_multi_intent = vocab.is_multi_intent

    def __reduce__(self) -> tuple[Any, ...]:
        # Sessions and locks can be neither copied nor pickled.
        return OnnxEngine, self._arguments

    def predict(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of each sentence's tags and intents; no intents without a head."""
        emissions, *logits = self._outputs(batch)
        tags = decode(emissions, batch.lengths, self.transitions)
        return tags, select_intents(logits[0], self.is_multi_intent) if logits else []

    def emissions(self, batch: Batch) -> np.ndarray:
        """Return the emissions `(batch, time, tags)`; any number at padding."""
        return self._outputs(batch)[0]

    def _outputs(self, batch: Batch) -> list[np.ndarray]:
        """Return the emissions, and the intent logits `(batch, intents)` if there is a head."""
        ((vectors,),) = batch.features
        return self._network.run({"vectors": vectors, "lengths": batch.lengths})


class _Session:
    """One ONNX model, and the metadata that slotfill wrote into it."""

    def __init__(self, source: Source, name: str, vocab_digest: str) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        # Products of this size gain nothing from a second thread; `predict` has its own.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.path = source / name if isinstance(source, Path) else Path(name)
        try:
            self._session = onnxruntime.InferenceSession(
                source / name if isinstance(source, Path) else source[name],
                options,
                providers=["CPUExecutionProvider"],
            )
            self._outputs = [output.name for output in self._session.get_outputs()]
            metadata = self._session.get_modelmeta().custom_metadata_map["slotfill"]
            self.metadata = json.loads(metadata)
        except Exception as error:
            # ONNX Runtime has one class for each error, and no public base class.
            reason = str(error).strip().splitlines()[0]
            raise _broken(self.path, f"not what slotfill wrote ({reason})") from None
        if (found := self.metadata["format"]) != FORMAT:
            reason = f"of format {found}; this version of slotfill reads format {FORMAT}"
            raise _broken(self.path, reason)
        if self.metadata["vocab"] != vocab_digest:
            raise _broken(self.path, "made for another vocabulary")

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs."""
        outputs: list[np.ndarray] = self._session.run(self._outputs, inputs)
        return outputs


class TokenVectorCache:
    """An indexer that returns token vectors, each computed once and cached."""

    def __init__(
        self,
        indexers: Sequence[Indexer],
        names: Sequence[Sequence[str]],
        embed: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    ) -> None:
        self._indexers = indexers
        self._names = names
        self._embed = embed
        self._rows: dict[str, int] = {}
        # Row 0 is zeros, for padding.
        self._table = np.zeros((1, 0), np.float32)
        self._lock = Lock()

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return vectors `(batch, time, size)`; zero at padding."""
        lengths = [len(tokens) for tokens in batch]
        # Held until the vectors are copied, since another thread may clear the cache.
        with self._lock:
            try:
                flat = list(map(self._rows.__getitem__, chain.from_iterable(batch)))
            except KeyError:
                self._compute_missing(dict.fromkeys(chain.from_iterable(batch)))
                flat = list(map(self._rows.__getitem__, chain.from_iterable(batch)))
            time = max(lengths, default=0)
            if len(flat) == len(batch) * time:
                rows = np.array(flat, np.int64).reshape(len(batch), time)
            else:
                rows = np.zeros((len(batch), time), np.int64)
                rows[np.arange(time) < np.array(lengths)[:, None]] = flat
            return (self._table.take(rows, axis=0),)

    def _compute_missing(self, tokens: dict[str, None]) -> None:
        missing = [token for token in tokens if token not in self._rows]
        if len(self._rows) + len(missing) > _capacity(self._table):
            self._rows, missing = {}, list(tokens)
        features = {
            name: array
            for indexer, names in zip(self._indexers, self._names, strict=True)
            for name, array in zip(names, indexer.index([missing]), strict=True)
        }
        vectors = self._embed(features)[0]
        first = len(self._rows) + 1
        end = first + len(missing)
        if end > len(self._table):
            # Doubled, so that it rarely grows, but not beyond what is ever cached.
            size = max(end, min(2 * end, _capacity(vectors) + 1))
            table = np.zeros((size, vectors.shape[1]), np.float32)
            if first > 1:
                table[1:first] = self._table[1:first]
            self._table = table
        self._table[first:end] = vectors
        self._rows.update(zip(missing, range(first, end), strict=True))


def _capacity(vectors: np.ndarray) -> int:
    """Return how many `vectors` `(token, size)` are cached."""
    return min(MAX_CACHED_TOKENS, MAX_CACHED_FLOATS // max(1, vectors.shape[1]))


def _broken(path: Path, found: str) -> RunError:
    return RunError(f"{path}: {found}; make it again with: slotfill export {path.parent}")
