"""The whole network as ONNX models, held against torch before they are handed out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, cast

import numpy as np
import torch

from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.export.dim import ExportError
from slotfill.export.tracer import Recorder
from slotfill.inference.onnx_engine import EMBEDDING, NETWORK, OnnxEngine
from slotfill.model.embeddings.base import Embedding
from slotfill.model.ensemble import average_outputs
from slotfill.model.tagger import SlotTagger
from slotfill.version import FORMAT

TOLERANCE = 1e-4
"""How far emissions may be from torch's, and as a share of them where they are larger than 1."""


def export_model(
    model: SlotTagger, vocab: Vocab, vocab_digest: str, texts: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """Return `model` as two files by their names: tokens' vectors from ids, and emissions and
    intents from vectors.

    They are two since a token's vector, and what the first encoders make of it that see no
    neighbours, depends on the token alone, so that whoever runs them may keep it. `texts` is what
    they tell, beside the model, of the texts it is for. Raises ExportError, which says why.
    """
    if any(member.tagger.uses_beam_search for member in model.members):
        raise ExportError("its tags come from a search, which is done by torch")
    if any(
        cast(Embedding, part).contextual for member in model.members for part in member.embeddings
    ):
        raise ExportError("an embedding reads whole sentences, which is done by torch")
    model = _on_cpu(model)
    about = {
        "format": FORMAT,
        "vocab": vocab_digest,
        "weights": _digest(model),
        "texts": dict(texts or {}),
    }
    with torch.no_grad():
        embedding, sizes = _embedding(model, vocab, about)
        found = {EMBEDDING: embedding, NETWORK: _network(model, sizes, about)}
    engine = OnnxEngine(found, vocab, vocab_digest)
    for tokens in _trials(vocab):
        wanted = model.emissions(make_batch(tokens, model.indexers))
        batch = make_batch(tokens, engine.indexers)
        given = engine.emissions(batch)
        for row, one, length in zip(given, wanted, batch.lengths, strict=True):
            far = np.abs(row[:length] - one[:length]) / np.maximum(1, np.abs(one[:length]))
            if not far.max() <= TOLERANCE:
                raise ExportError(f"its emissions are {far.max():.1e} from torch's")
        if engine.predict(batch) != model.predict(make_batch(tokens, model.indexers)):
            raise ExportError(
                "its tags are not those that its emissions and transitions tell, or its intents"
                " differ"
            )
    return found


def _digest(model: SlotTagger) -> str:
    """Return what tells the weights of `model` from others, so that halves of two networks are not
    taken for one.
    """
    found = sha256()
    for name, tensor in model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def _on_cpu(model: SlotTagger) -> SlotTagger:
    import copy

    return copy.deepcopy(model).cpu().float().eval()


def _embedding(model: SlotTagger, vocab: Vocab, about: dict[str, Any]) -> tuple[bytes, list[int]]:
    """Return the half from the ids of distinct tokens, as one sentence of them, to their vectors.

    And how many numbers of a vector are for each of the networks.
    """
    recorder = Recorder()
    settings = [getattr(indexer, "settings", None) for indexer in model.indexers]
    if None in settings:
        raise ExportError("an embedding from outside has a lookup of its own")
    # Of words of which as little as may be is known, and of those that have the most of what is
    # looked up.
    widest = [
        max(vocab.tokens, key=lambda word: indexer.index([[word]])[0].size)
        for indexer in model.indexers
    ]
    arrays = [
        [indexer.index([words]) for words in (_STRANGE, [*_LONGER, *widest])]
        for indexer in model.indexers
    ]
    names = [
        [f"ids_{part}_{place}" for place in range(len(each[0]))] for part, each in enumerate(arrays)
    ]
    features = [
        [
            recorder.input(name, *map(torch.from_numpy, both))
            for name, *both in zip(each, *pair, strict=True)
        ]
        for each, pair in zip(names, arrays, strict=True)
    ]
    with recorder:
        found = [member.encode_tokens(features) for member in model.members]
        vectors = torch.cat(found, dim=2) if len(found) > 1 else found[0]
    inputs = {
        name: tensor
        for pair in zip(names, features, strict=True)
        for name, tensor in zip(*pair, strict=True)
    }
    about = about | {"indexers": settings, "inputs": names}
    return recorder.model(inputs, {"encode_tokens": vectors}, json.dumps(about)), [
        each.shape[2] for each in found
    ]


def _network(model: SlotTagger, sizes: list[int], about: dict[str, Any]) -> bytes:
    """Return the half from vectors of sentences to emissions, and to scores of intents where there
    is a head.
    """
    recorder = Recorder()
    lengths = recorder.input("lengths", *(torch.tensor(each) for each in _LENGTHS))
    shapes = [(len(each), max(each), sum(sizes)) for each in _LENGTHS]
    vectors = recorder.input("vectors", *map(torch.zeros, shapes))
    with recorder:
        pieces = vectors.split(sizes, dim=2) if len(sizes) > 1 else [vectors]
        found = []
        for member, piece in zip(model.members, pieces, strict=True):
            seen = member.through(
                member.encoders[len(member.context_free_encoders) :], piece, lengths
            )
            hidden, scores = member.apply_intent_head(seen, lengths)
            found.append((member.tagger(hidden, lengths), scores))
        emissions, scores = average_outputs(found)
        outputs = {"emissions": emissions} | ({} if scores is None else {"intents": scores})
    transitions = model.transitions()
    about = about | {"transitions": None if transitions is None else transitions.to_json()}
    return recorder.model({"vectors": vectors, "lengths": lengths}, outputs, json.dumps(about))


def _trials(vocab: Vocab) -> list[Sequence[Sequence[str]]]:
    """Batches of sentences of known and unknown words: alone, and long beside short."""
    words = [*list(vocab.tokens)[:40], "x", "Qwfp-7", "時", "unheard-of" * 5]
    drawn = np.random.default_rng(0).choice(len(words), 60)
    sentence = [words[place] for place in drawn]
    return [
        [sentence[:1]],
        [sentence[:12], sentence[12:15], sentence[20:21]],
        [sentence[30:37]] * 2,
    ]


_STRANGE = ["\ue000", "\ue001"]
_LONGER = ["abcde", "b", "cde"]
_LENGTHS = ([4, 2], [5, 1, 3])
