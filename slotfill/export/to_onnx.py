"""Export a network as two ONNX models, verified against torch before they are returned."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.export.builder import ExportError
from slotfill.export.tracer import OnnxTracer
from slotfill.inference.onnx_engine import EMBEDDING, NETWORK, OnnxEngine
from slotfill.model.embeddings.base import Embedding
from slotfill.model.ensemble import Model, average_outputs

TOLERANCE = 1e-4
"""Largest difference of emissions from torch's: absolute below 1, relative above."""

_EXAMPLE_TOKENS, _ALTERNATE_TOKENS = ["\ue000", "\ue001"], ["abcde", "b", "cde"]
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
    for member in model.members:
        if member.tagger.uses_beam_search:
            raise ExportError("its tagger uses beam search, which needs torch")
        if any(cast(Embedding, embedding).contextual for embedding in member.embeddings):
            raise ExportError("its embedding reads complete sentences, which needs torch")
    model = copy.deepcopy(model).cpu().float().eval()
    metadata = {"texts": dict(texts or {"scheme": vocab.scheme})}
    with torch.no_grad():
        embedding, sizes = _export_embedding(model, vocab, metadata)
        models = {EMBEDDING: embedding, NETWORK: _export_network(model, sizes, metadata)}
    _verify(model, OnnxEngine(models, vocab), vocab)
    return models


def _export_embedding(
    model: Model, vocab: Vocab, metadata: dict[str, Any]
) -> tuple[bytes, list[int]]:
    """Return the model from token ids to token vectors, and the size of each member's vectors."""
    settings = [getattr(indexer, "settings", None) for indexer in model.indexers]
    if None in settings:
        raise ExportError("a user-defined embedding has a custom indexer")
    # With the words of most ids, so that the alternate example is wider on every axis.
    longest = [
        max(vocab.tokens, key=lambda word: indexer.index([[word]])[0].size)
        for indexer in model.indexers
    ]
    examples = (_EXAMPLE_TOKENS, [*_ALTERNATE_TOKENS, *longest])
    tracer = OnnxTracer()
    inputs: dict[str, torch.Tensor] = {}
    names: list[list[str]] = []
    for part, indexer in enumerate(model.indexers):
        arrays = list(zip(*(indexer.index([tokens]) for tokens in examples), strict=True))
        names.append([f"ids_{part}_{position}" for position in range(len(arrays))])
        for name, pair in zip(names[-1], arrays, strict=True):
            inputs[name] = tracer.input(name, *map(torch.from_numpy, pair))
    with tracer:
        features = [[inputs[name] for name in part_names] for part_names in names]
        vectors = [member.encode_tokens(features) for member in model.members]
        joined = torch.cat(vectors, dim=2) if len(vectors) > 1 else vectors[0]
    about = json.dumps({**metadata, "indexers": settings, "inputs": names})
    sizes = [vector.shape[2] for vector in vectors]
    return tracer.model(inputs, {"token_vectors": joined}, about), sizes


def _export_network(model: Model, sizes: list[int], metadata: dict[str, Any]) -> bytes:
    """Return the model from token vectors to emissions and intent logits, if it has any."""
    tracer = OnnxTracer()
    lengths = tracer.input("lengths", *map(torch.tensor, _EXAMPLE_LENGTHS))
    shapes = [(len(example), max(example), sum(sizes)) for example in _EXAMPLE_LENGTHS]
    vectors = tracer.input("vectors", *map(torch.zeros, shapes))
    with tracer:
        inputs = vectors.split(sizes, dim=2) if len(sizes) > 1 else [vectors]
        members = zip(model.members, inputs, strict=True)
        output = average_outputs([member.forward_encoded(x, lengths) for member, x in members])
    outputs = {"emissions": output.emissions}
    if output.intent_logits is not None:
        outputs["intents"] = output.intent_logits
    transitions = model.transitions()
    about = json.dumps({**metadata, "transitions": transitions and transitions.to_json()})
    return tracer.model({"vectors": vectors, "lengths": lengths}, outputs, about)


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
