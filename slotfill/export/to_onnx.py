"""Export a network as two ONNX models, verified against torch before they are returned."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import extract_tb
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from slotfill.config.registry import find_part_line
from slotfill.data.batching import make_batch
from slotfill.data.indexers import Indexer
from slotfill.data.vocab import Vocab
from slotfill.export.builder import ExportError
from slotfill.export.tracer import OnnxTracer
from slotfill.inference.onnx_engine import EMBEDDING, NETWORK, OnnxEngine
from slotfill.model.embeddings.base import Embedding
from slotfill.model.ensemble import Model, average_outputs
from slotfill.model.recurrence import restore_steps

TOLERANCE = 1e-4
"""Largest difference of emissions from torch's: absolute below 1, relative above."""

_EXAMPLE_TOKENS, _ALTERNATE_TOKENS = ["\ue000", "\ue001"], ["abcde", "b", "c-d-e"]
_EXAMPLE_LENGTHS = ([4, 2], [5, 1, 3])
"""The tokens and sentence lengths of the example and of the alternate example."""


def export_model(
    model: Model, vocab: Vocab, texts: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """Return the two serialized models by file name: token vectors from ids, and the rest.

    They are apart so that a token's vector, which includes the leading encoders that look at each
    token on its own, is computed once and cached.
    `texts` are settings for reading text, stored in the metadata. Raises ExportError if the network
    cannot be expressed in ONNX.
    """
    if any(member.tagger.uses_beam_search for member in model.members):
        raise ExportError("its tagger uses beam search, which needs torch")
    for part in _embeddings(model):
        if not hasattr(part.indexer, "settings"):
            raise ExportError(
                "its embedding reads complete sentences, which needs torch"
                if part.contextual
                else "a user-defined embedding has a custom indexer"
            )
    if all(part.contextual for part in _embeddings(model)):
        raise ExportError("it has no embedding of single words")
    model = copy.deepcopy(model).cpu().float().eval()
    restore_steps(model)
    metadata = {"texts": dict(texts or {"scheme": vocab.scheme})}
    with torch.no_grad(), _without_fused_attention(), _locate_errors():
        embedding, sizes = _export_embedding(model, vocab, metadata)
        models = {EMBEDDING: embedding, NETWORK: _export_network(model, vocab, sizes, metadata)}
    _verify(model, OnnxEngine(models, vocab), vocab)
    return models


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Make torch's Transformer layers call functions that can be traced."""
    is_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_enabled)


@contextmanager
def _locate_errors() -> Iterator[None]:
    """Add to an ExportError of the `with` block the line of a user-defined part that led to it."""
    try:
        yield
    except ExportError as error:
        place = find_part_line(extract_tb(error.__traceback__))
        raise ExportError(f"{error}, in {place}" if place else str(error)) from None


def _embeddings(model: Model) -> list[Embedding]:
    """Return the embeddings of the first member, those of the others being alike."""
    return list(cast(Iterable[Embedding], model.members[0].embeddings))


def _export_embedding(
    model: Model, vocab: Vocab, metadata: dict[str, Any]
) -> tuple[bytes, list[int]]:
    """Return the model from token ids to token vectors, and the size of each member's vectors."""
    indexers = [part.indexer for part in _embeddings(model) if not part.contextual]
    # With the words of most ids, so that the alternate example is wider on every axis.
    longest = [
        max(vocab.tokens, key=lambda word: indexer.index([[word]])[0].size) for indexer in indexers
    ]
    tracer = OnnxTracer()
    inputs, features, settings = _trace_indexers(
        tracer, vocab, indexers, [[_EXAMPLE_TOKENS], [[*_ALTERNATE_TOKENS, *longest]]]
    )
    with tracer:
        vectors = [member.encode_tokens(features) for member in model.members]
        joined = torch.cat(vectors, dim=2) if len(vectors) > 1 else vectors[0]
    about = json.dumps({**metadata, **settings})
    sizes = [vector.shape[2] for vector in vectors]
    return tracer.model(inputs, {"token_vectors": joined}, about), sizes


def _export_network(
    model: Model, vocab: Vocab, sizes: list[int], metadata: dict[str, Any]
) -> bytes:
    """Return the model from token vectors to emissions and intent logits, if it has any."""
    tracer = OnnxTracer()
    lengths = tracer.input("lengths", *map(torch.tensor, _EXAMPLE_LENGTHS))
    shapes = [(len(example), max(example), sum(sizes)) for example in _EXAMPLE_LENGTHS]
    vectors = tracer.input("vectors", *map(torch.zeros, shapes))
    indexers = [part.indexer for part in _embeddings(model) if part.contextual]
    batches = [[["a"] * length for length in example] for example in _EXAMPLE_LENGTHS]
    context_inputs, context, settings = _trace_indexers(tracer, vocab, indexers, batches)
    with tracer:
        parts = vectors.split(sizes, dim=2) if len(sizes) > 1 else [vectors]
        members = zip(model.members, parts, strict=True)
        output = average_outputs(
            [member.forward_encoded(x, lengths, context=context) for member, x in members]
        )
    outputs = {"emissions": output.emissions}
    if output.intent_logits is not None:
        outputs["intents"] = output.intent_logits
    transitions = model.transitions()
    about = {**metadata, **settings, "transitions": transitions and transitions.to_json()}
    inputs = {"vectors": vectors, "lengths": lengths, **context_inputs}
    return tracer.model(inputs, outputs, json.dumps(about))


def _trace_indexers(
    tracer: OnnxTracer,
    vocab: Vocab,
    indexers: Sequence[Indexer],
    batches: Sequence[Sequence[Sequence[str]]],
) -> tuple[dict[str, Tensor], list[list[Tensor]], dict[str, Any]]:
    """Add the arrays of `indexers` to the inputs of `tracer`.

    `batches` are the sentences of the example and of the alternate example. Returns the inputs by
    name, for each indexer its own, and the metadata that describes them.
    """
    inputs: dict[str, Tensor] = {}
    names: list[list[str]] = []
    for part, indexer in enumerate(indexers):
        arrays = list(zip(*map(indexer.index, batches), strict=True))
        names.append([f"ids_{part}_{position}" for position in range(len(arrays))])
        for name, pair in zip(names[-1], arrays, strict=True):
            inputs[name] = tracer.input(name, *map(torch.from_numpy, pair))
    features = [[inputs[name] for name in own_names] for own_names in names]
    settings = [vocab.number_files(cast(Any, indexer).settings) for indexer in indexers]
    return inputs, features, {"indexers": settings, "inputs": names}


def _verify(model: Model, engine: OnnxEngine, vocab: Vocab) -> None:
    """Raise ExportError unless `engine` gives the emissions, tags and intents of `model`."""
    for tokens in _verification_batches(vocab):
        torch_batch = make_batch(tokens, model.indexers)
        batch = make_batch(tokens, engine.indexers)
        expected, emissions = model.emissions(torch_batch), engine.emissions(batch)
        real = np.arange(emissions.shape[1]) < batch.lengths[:, None]
        difference = np.abs(emissions - expected) / np.maximum(1, np.abs(expected))
        # Not `>`, which is false for NaN.
        if not (largest := difference[real].max()) <= TOLERANCE:
            raise ExportError(f"its emissions differ from torch's by {largest:.1e}")
        if engine.predict(batch) != model.predict(torch_batch):
            raise ExportError("its tags or intents differ from torch's")


def _verification_batches(vocab: Vocab) -> list[list[list[str]]]:
    """Return sentences of known and unknown words: one alone, long beside short, and equal ones."""
    words = [*list(vocab.tokens)[:40], "x", "Qwfp-7", "時", "unheard-of" * 5]
    sentence = np.random.default_rng(0).choice(words, 60).tolist()
    long, short, single = sentence[:12], sentence[12:15], sentence[20:21]
    return [[sentence[:1]], [long, short, single], [sentence[30:37]] * 2]
