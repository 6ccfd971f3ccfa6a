"""The whole network as an ONNX model, held against torch before it is handed out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from slotfill import FORMAT
from slotfill.batch import make_batch
from slotfill.export.dim import NotExportable
from slotfill.export.recorder import Recorder
from slotfill.model import SlotTagger
from slotfill.onnx_engine import OnnxEngine
from slotfill.vocab import Vocab

TOLERANCE = 1e-4
"""How far emissions may be from torch's, and as a share of them where they are larger than 1."""


def export_model(model: SlotTagger, vocab: Vocab, vocab_digest: str, texts: Mapping[str, str] | None = None) -> bytes:
    """Return `model` as an ONNX model in two halves: `token_vectors` from tokens' ids, `emissions` from vectors.

    A token's vector depends on the token alone, so that whoever runs the model may keep it. An input that is not given
    has a value of its own, so that either half can be asked for alone. `texts` is what the file tells, beside the
    model, of the texts it is for. Raises NotExportable, which says why.
    """
    if model.tagger.searches:
        raise NotExportable("its tags come from a search, which is done by torch")
    model = _on_cpu(model)
    found = _record(model, vocab_digest, texts or {})
    engine = OnnxEngine(found, vocab, vocab_digest)
    for tokens in _trials(vocab):
        wanted = model.emissions(make_batch(tokens, model.lookups))
        batch = make_batch(tokens, engine.lookups)
        given = engine.emissions(batch)
        for row, one, length in zip(given, wanted, batch.lengths, strict=True):
            far = np.abs(row[:length] - one[:length]) / np.maximum(1, np.abs(one[:length]))
            if not far.max() <= TOLERANCE:
                raise NotExportable(f"its emissions are {far.max():.1e} from torch's")
        if engine.tags(batch) != model.tags(make_batch(tokens, model.lookups)):
            raise NotExportable("its tags are not those that its emissions and transitions tell")
    return found


def _on_cpu(model: SlotTagger) -> SlotTagger:
    import copy

    return copy.deepcopy(model).cpu().float().eval()


def _record(model: SlotTagger, vocab_digest: str, texts: Mapping[str, str]) -> bytes:
    recorder = Recorder()
    settings = [getattr(lookup, "settings", None) for lookup in model.lookups]
    if None in settings:
        raise NotExportable("an embedding from outside has a lookup of its own")
    inputs: list[tuple[str, Tensor]] = []

    def given(name: str, example: np.ndarray, twin: np.ndarray) -> Tensor:
        tensor = recorder.input(name, torch.from_numpy(example), torch.from_numpy(twin))
        inputs.append((name, tensor))
        return tensor

    # Of the shortest words, and of longer ones.
    arrays = [[lookup.arrays([words]) for words in _WORDS] for lookup in model.lookups]
    features = [
        [given(f"ids_{part}_{place}", *both) for place, both in enumerate(zip(*pair, strict=True))]
        for part, pair in enumerate(arrays)
    ]
    size = model.vector_size
    lengths = given("lengths", *(np.array(each) for each in _LENGTHS))
    vectors = given("vectors", *(np.zeros((len(each), max(each), size), np.float32) for each in _LENGTHS))
    outputs = []
    with torch.no_grad():
        with recorder:
            halves = {"token_vectors": model.vectors(features), "emissions": _emissions(model, vectors, lengths)}
        transitions = model.tagger.transitions()
        if transitions is not None:
            tables = (transitions.start, transitions.between, transitions.end)
            halves |= {name: torch.from_numpy(table) for name, table in zip(_TABLES, tables, strict=True)}
    for name, tensor in halves.items():
        recorder.graph.rename(recorder.add("Identity", [recorder.name(tensor)]), name)
        outputs.append(recorder.info(tensor, name))
    about = {
        "format": FORMAT,
        "vocab": vocab_digest,
        "lookups": settings,
        "inputs": [[f"ids_{part}_{place}" for place in range(len(each))] for part, each in enumerate(features)],
        "transitions": transitions is not None,
        "texts": dict(texts),
    }
    infos = [(recorder.info(tensor, name), tensor.numpy()) for name, tensor in inputs]
    return recorder.graph.model(infos, outputs, json.dumps(about)).SerializeToString()


def _emissions(model: SlotTagger, vectors: Tensor, lengths: Tensor) -> Tensor:
    return model.tagger(model.encoded(vectors, lengths), lengths)


def _trials(vocab: Vocab) -> list[Sequence[Sequence[str]]]:
    """Batches of sentences of known and unknown words: alone, and long beside short."""
    words = [*list(vocab.tokens)[:40], "x", "Qwfp-7", "時", "unheard-of" * 5]
    drawn = np.random.default_rng(0).choice(len(words), 60)
    sentence = [words[place] for place in drawn]
    return [[sentence[:1]], [sentence[:12], sentence[12:15], sentence[20:21]], [sentence[30:37]] * 2]


_WORDS = (["a", "b"], ["abcde", "b", "cde"])
_LENGTHS = ([4, 2], [5, 1, 3])
_TABLES = ("start", "between", "end")
