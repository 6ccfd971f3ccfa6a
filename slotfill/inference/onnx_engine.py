"""The network as ONNX Runtime computes it: prediction without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock

import numpy as np

from slotfill.data.batching import Batch
from slotfill.data.indexers import Indexer
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.inference.decoding import Transitions, decode, select_intents
from slotfill.version import FORMAT

# ONNX Runtime reads it as it is imported, and would tell its maker of its use.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MAX_CACHED_TOKENS = 32768
MAX_CACHED_FLOATS = 5_000_000
"""How many distinct tokens' vectors, and numbers in these, are kept before all are forgotten, so
that memory does not grow for ever."""

EMBEDDING, NETWORK = ONNX = ("embedding.onnx", "model.onnx")
"""The two halves of a network: tokens' vectors from their ids, and from those of sentences
emissions and intents.
"""


class OnnxEngine:
    """A network of a run folder, from its ONNX files; a batch goes in, tags and intents come out."""

    def __init__(self, source: Path | Mapping[str, bytes], vocab: Vocab, vocab_digest: str) -> None:
        """Raises RunError where one of the files, in `source`, is not what slotfill wrote for this
        vocabulary.
        """
        embedding, network = (_Session(source, name, vocab_digest) for name in ONNX)
        folder = source if isinstance(source, Path) else Path()
        for half, name, key in (
            (embedding, EMBEDDING, "indexers"),
            (network, NETWORK, "transitions"),
        ):
            if key not in half.about:
                raise _broken(folder / name, "the other half of a network")
        if embedding.about.get("weights") != network.about.get("weights"):
            raise _broken(folder / NETWORK, f"not of the same run as {EMBEDDING}")
        indexers = [vocab.lookup(settings) for settings in embedding.about["indexers"]]
        self.indexers: list[Indexer] = [
            TokenVectors(indexers, embedding.about["inputs"], lambda ids: embedding.run(ids)[0])
        ]
        self._network = network
        transitions = network.about["transitions"]
        self.transitions = None if transitions is None else Transitions.from_json(transitions)
        self.texts: dict[str, str] = network.about["texts"]
        self.is_multi_intent = vocab.is_multi_intent

    def predict(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of the best tags of each sentence, and of its intents; no list where none
        are learned.
        """
        emissions, *scores = self._outputs(batch)
        tags = decode(emissions, batch.lengths, self.transitions)
        return tags, select_intents(scores[0], self.is_multi_intent) if scores else []

    def tags(self, batch: Batch) -> list[list[int]]:
        """Return the ids of the best tags of each sentence."""
        return self.predict(batch)[0]

    def emissions(self, batch: Batch) -> np.ndarray:
        """Return emissions `(batch, time, tags)`; any number at padding."""
        return self._outputs(batch)[0]

    def _outputs(self, batch: Batch) -> list[np.ndarray]:
        """Return emissions, and the scores of intents `(batch, intents)` where they are learned."""
        ((vectors,),) = batch.features
        return self._network.run({"vectors": vectors, "lengths": batch.lengths})


class _Session:
    """One file, loaded; `about` is what its metadata say."""

    def __init__(self, source: Path | Mapping[str, bytes], name: str, vocab_digest: str) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        # Products this small gain nothing by a second; predict has its own.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        folder = source if isinstance(source, Path) else Path()
        try:
            model = source / name if isinstance(source, Path) else source[name]
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            self._outputs = [output.name for output in self._session.get_outputs()]
            self.about = json.loads(self._session.get_modelmeta().custom_metadata_map["slotfill"])
        except Exception as fault:
            # ONNX Runtime has a class for each of its faults and no public one for all.
            raise _broken(
                folder / name, f"not what slotfill wrote ({str(fault).strip().splitlines()[0]})"
            ) from None
        if self.about["format"] != FORMAT:
            found = (
                f"of format {self.about['format']}; this version of slotfill reads format {FORMAT}"
            )
            raise _broken(folder / name, found)
        if self.about["vocab"] != vocab_digest:
            raise _broken(folder / name, "made for another vocabulary")

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs."""
        found: list[np.ndarray] = self._session.run(self._outputs, inputs)
        return found


class TokenVectors:
    """The vector of each token, computed when it is first seen and then kept; a lookup that gives
    vectors.
    """

    def __init__(
        self,
        indexers: Sequence[Indexer],
        names: Sequence[Sequence[str]],
        embed: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    ) -> None:
        self._lookups = indexers
        self._names = names
        self._embed = embed
        self._rows: dict[str, int] = {}
        # Row 0 is zeros, for padding.
        self._table = np.zeros((1, 0), np.float32)
        self._lock = Lock()

    def index(self, batch: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Return vectors `(batch, time, size)`; zero at padding."""
        lengths = [len(tokens) for tokens in batch]
        # Held until the vectors are taken, since another thread may forget them all.
        with self._lock:
            try:
                flat = list(map(self._rows.__getitem__, chain.from_iterable(batch)))
            except KeyError:
                self._learn(dict.fromkeys(chain.from_iterable(batch)))
                flat = list(map(self._rows.__getitem__, chain.from_iterable(batch)))
            time = max(lengths, default=0)
            if len(flat) == len(batch) * time:
                rows = np.array(flat, np.int64).reshape(len(batch), time)
            else:
                rows = np.zeros((len(batch), time), np.int64)
                rows[np.arange(time) < np.array(lengths)[:, None]] = flat
            return (self._table.take(rows, axis=0),)

    def _learn(self, tokens: dict[str, None]) -> None:
        fresh = [token for token in tokens if token not in self._rows]
        if len(self._rows) + len(fresh) > _most(self._table):
            self._rows, fresh = {}, list(tokens)
        features = {
            name: array
            for lookup, names in zip(self._lookups, self._names, strict=True)
            for name, array in zip(names, lookup.index([fresh]), strict=True)
        }
        vectors = self._embed(features)[0]
        first = len(self._rows) + 1
        size = first + len(fresh)
        if size > len(self._table):
            # Twice what is needed, so that few new tokens seldom mean a new table, but no more than
            # is ever kept.
            table = np.zeros(
                (max(size, min(2 * size, _most(vectors) + 1)), vectors.shape[1]), np.float32
            )
            if first > 1:
                table[1:first] = self._table[1:first]
            self._table = table
        self._table[first:size] = vectors
        self._rows.update(zip(fresh, range(first, size), strict=True))


def _most(vectors: np.ndarray) -> int:
    """Return how many of such `vectors` `(token, size)` are kept."""
    return min(MAX_CACHED_TOKENS, MAX_CACHED_FLOATS // max(1, vectors.shape[1]))


def _broken(path: Path, found: str) -> RunError:
    return RunError(f"{path}: {found}; make it again with: slotfill export {path.parent}")
