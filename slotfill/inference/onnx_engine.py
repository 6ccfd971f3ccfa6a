"""Prediction with ONNX Runtime, without torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np

from slotfill.data.batching import Batch, make_batch
from slotfill.data.indexers import Indexer
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError
from slotfill.files import parse_json
from slotfill.inference.decoding import Scores, Transitions
from slotfill.inference.engine import Engine

# Read by ONNX Runtime on import: it would send usage statistics otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MAX_CACHED_TOKENS = 32768
MAX_CACHED_FLOATS = 5_000_000
"""Limits of the token vector cache, which is cleared when either is exceeded."""

EMBEDDING, NETWORK = ONNX = ("embedding.onnx", "model.onnx")
"""The two models of a network: from token ids to token vectors, and from there to the outputs.

The second also takes the ids of contextual embeddings."""


class Files(Protocol):
    """The content of files by name."""

    def __getitem__(self, name: str, /) -> bytes: ...


_FATAL = 4
"""The lowest log severity of ONNX Runtime, whose messages quote a model; errors are exceptions."""

_EXTERNAL_WEIGHTS = "session.model_external_initializers_file_folder_path"

_KEPT_MEMORY = 4 << 20
"""In bytes; more than the arrays of a batch."""


def _keep_freed_memory() -> None:
    """Let the C library keep the memory of the arrays of a batch for those of the next.

    Beyond twice the largest block that was ever freed, glibc returns freed memory to the system,
    and each page that is asked for again costs a page fault: up to a fifth of prediction's time.
    """
    np.empty(_KEPT_MEMORY, np.uint8)


class OnnxEngine(Engine):
    """An exported network; copying or pickling it loads the models again."""

    def __init__(self, files: Files, vocab: Vocab, folder: Path = Path()) -> None:
        """Load the models in `files`, those of `folder`.

        Raises RunError if a model is not valid, or does not fit the vocabulary.
        """
        _keep_freed_memory()
        self._arguments = (files, vocab, folder)
        embedding, network = (_Session(files[name], folder / name) for name in ONNX)
        indexers = _call(
            embedding.path, lambda: list(map(vocab.indexer, embedding.metadata["indexers"]))
        )
        names = embedding.metadata["inputs"]
        self.indexers: list[Indexer] = [TokenVectorCache(indexers, names, embedding.run_tokens)]
        # Those of contextual embeddings, whose vectors cannot be cached by token.
        contextual = network.metadata.get("indexers") or ()
        self.indexers += _call(network.path, lambda: list(map(vocab.indexer, contextual)))
        self._contextual_inputs = list(chain(*(network.metadata.get("inputs") or ())))
        self._network = network
        saved, tags = network.metadata.get("transitions"), len(vocab.tags)
        self.transitions = saved and _call(network.path, lambda: Transitions.from_json(saved, tags))
        self.texts: dict[str, str] = network.metadata["texts"]
        self.is_multi_intent = vocab.is_multi_intent
        self._sizes = tags, len(vocab.intent_names)
        # Run once, so that files that do not fit each other or the vocabulary are found here.
        _call(network.path, lambda: self.predict(make_batch([["a"]], self.indexers)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Sessions and locks can be neither copied nor pickled.
        return OnnxEngine, self._arguments

    def scores(self, batch: Batch) -> Scores:
        (vectors,), *contextual = batch.features
        inputs = {"vectors": vectors, "lengths": batch.lengths}
        inputs.update(zip(self._contextual_inputs, chain(*contextual), strict=True))
        outputs = self._network.run(inputs)
        count, time = vectors.shape[:2]
        tags, intents = self._sizes
        shapes = [(count, time, tags), (count, intents)][: max(1, len(outputs))]
        if [output.shape for output in outputs] != shapes:
            raise _invalid_file_error(
                self._network.path, f"its outputs are not of the shapes {shapes}"
            )
        return Scores(outputs[0], self.transitions, outputs[1] if outputs[1:] else None)


_Result = TypeVar("_Result")

_METADATA_SHAPES = {
    EMBEDDING: {"indexers": [{}], "inputs": [[str]]},
    NETWORK: {
        "texts": {"scheme": str},
        "transitions": (None, {"start": str, "matrix": str, "end": str}),
        "indexers": (None, [{}]),
        "inputs": (None, [[str]]),
    },
}


class _Session:
    """An ONNX file, loaded, with the metadata that slotfill wrote into it."""

    def __init__(self, content: bytes, path: Path) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(_FATAL)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        # Products of this size gain nothing from a second thread; `predict` has its own.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # No folder: a model takes no weights from files beside it, which nothing verifies.
        options.add_session_config_entry(_EXTERNAL_WEIGHTS, os.devnull)
        self.path = path
        cpu = ["CPUExecutionProvider"]
        self._session = _call(
            path, lambda: onnxruntime.InferenceSession(content, options, providers=cpu)
        )
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.metadata = _call(path, self._read_metadata)

    def _read_metadata(self) -> dict[str, Any]:
        text = self._session.get_modelmeta().custom_metadata_map.get("slotfill", "{}")
        metadata: dict[str, Any] = parse_json(text, _METADATA_SHAPES[self.path.name])
        return metadata

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, of 32-bit floats."""
        outputs = _call(self.path, lambda: self._session.run(self._outputs, inputs))
        for name, output in zip(self._outputs, outputs, strict=True):
            if getattr(output, "dtype", None) != np.float32:
                raise _invalid_file_error(self.path, f"its output {name!r} has no 32-bit floats")
        return outputs

    def run_tokens(self, inputs: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return the vectors `(token, size)` of one sentence of `count` tokens."""
        (vectors,) = self.run(inputs)
        if vectors.ndim != 3 or vectors.shape[:2] != (1, count):
            raise _invalid_file_error(self.path, f"its output has the shape {vectors.shape}")
        return vectors[0]


def _call(path: Path, action: Callable[[], _Result]) -> _Result:
    """Return what `action` returns; raises RunError if it fails because of the file `path`."""
    try:
        return action()
    except RunError:
        raise
    except Exception as error:  # ONNX Runtime has many classes of errors, and no common base.
        raise _invalid_file_error(
            path, " ".join(str(error).split()) or type(error).__name__
        ) from None


def _invalid_file_error(path: Path, reason: str) -> RunError:
    is_packed = not (path.parent / "model.safetensors").exists()  # Nothing to export again.
    hint = (
        "pack the run again" if is_packed else f"write it again with: slotfill export {path.parent}"
    )
    return RunError(f"{path}: not an ONNX file of slotfill ({reason}); {hint}")


class TokenVectorCache:
    """An indexer that returns token vectors, each computed once and cached."""

    def __init__(
        self,
        indexers: Sequence[Indexer],
        names: Sequence[Sequence[str]],
        embed: Callable[[Mapping[str, np.ndarray], int], np.ndarray],
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
        vectors = self._embed(features, len(missing))
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
