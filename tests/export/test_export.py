"""Every registered part can be exported, and ONNX Runtime computes the same as torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from part_cases import SENTENCES, STRANGE, make_vocab, networks, randomize, small

from slotfill.config.registry import REGISTRIES
from slotfill.data.batching import make_batch
from slotfill.errors import RunError
from slotfill.export.builder import ExportError
from slotfill.export.operators import COMPOSITIONS, OPERATORS
from slotfill.export.to_onnx import export_model
from slotfill.export.tracer import OnnxTracer
from slotfill.inference.decoding import select_intents
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.model.encoders.base import Encoder
from slotfill.model.ensemble import Ensemble
from slotfill.model.network import Network
from slotfill.model.recurrence import compile_steps

BATCHES = [
    [sentence.tokens for sentence in SENTENCES],
    [["Taipei"]],
    [*STRANGE, SENTENCES[4].tokens],
    [["leave", "at", "Taipei"] * 5],
]


def built(parts, scheme="iob2", scale=0.7):
    vocab = make_vocab(scheme)
    model = Network(vocab, *parts).eval()
    randomize(model, 3, scale)
    return model, vocab


def unique_tokens(batch):
    return {token for tokens in batch for token in tokens}


def path_score(scores, row, path):
    """Return the score of the tags `path` of a sentence, of which the best tags have the most."""
    total = scores.emissions[row, range(len(path)), path].sum()
    if (pairs := scores.transitions) is not None:
        total += pairs.start[path[0]] + pairs.matrix[path[:-1], path[1:]].sum()
        total += pairs.end[path[-1]]
    return float(total)


def operators(models: dict[str, bytes]) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(models["model.onnx"]).graph.node]


def test_a_network_with_compiled_steps_is_exported_without_them(monkeypatch):
    def compiled(step):
        return lambda projected, state: pytest.fail("a step on the device of training")

    monkeypatch.setattr("torch.compile", compiled)
    model, vocab = built(networks()[0].values[0])
    expected = export_model(model, vocab)
    compile_steps(model)
    assert export_model(model, vocab) == expected


@pytest.mark.parametrize("parts", networks())
def test_exported_model_matches_torch(parts, monkeypatch):
    # What export verifies of itself is verified here, on more sentences.
    monkeypatch.setattr("slotfill.export.to_onnx._verify", lambda *_: None)
    model, vocab = built(parts)
    if model.tagger.uses_beam_search or not all(
        hasattr(indexer, "settings") for indexer in model.indexers
    ):
        with pytest.raises(
            ExportError, match="search" if model.tagger.uses_beam_search else "complete sentences"
        ):
            export_model(model, vocab)
        return
    exported = export_model(model, vocab)
    for half in exported.values():
        onnx.checker.check_model(half, full_check=True)
    engine = OnnxEngine(exported, vocab)
    for tokens in BATCHES:
        torch_batch, onnx_batch = (
            make_batch(tokens, model.indexers),
            make_batch(tokens, engine.indexers),
        )
        expected, actual = model.scores(torch_batch), engine.scores(onnx_batch)
        assert actual.emissions.shape == expected.emissions.shape
        assert actual.emissions.dtype == np.float32
        lengths = torch_batch.lengths
        for row, one, length in zip(actual.emissions, expected.emissions, lengths, strict=True):
            np.testing.assert_allclose(row[:length], one[:length], atol=1e-4, rtol=1e-4)
        # Tags of the same score, as tokens without any difference have, can change places.
        paths = zip(actual.best_tags(lengths), expected.best_tags(lengths), strict=True)
        for row, (path, best) in enumerate(paths):
            assert path == best or path_score(expected, row, path) == pytest.approx(
                path_score(expected, row, best), abs=1e-4
            )
        logits, wanted = actual.intent_logits, expected.intent_logits
        assert (logits is None) == (wanted is None) == (model.intent is None)
        if logits is not None:
            np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=1e-4)
            intents = select_intents(logits, engine.is_multi_intent)
            assert intents == select_intents(wanted, model.is_multi_intent)


def test_features_of_phrases_are_exported_beside_the_cached_vectors():
    """Also of ensembles, and below an encoder that would else be part of the token vectors."""
    vocab = make_vocab()
    parts = (
        [small("embedding", "gazetteer"), "word"],
        [small("encoder", "feedforward"), small("encoder", "recurrent")],
        "crf",
    )
    model = Ensemble([Network(vocab, *parts) for _ in range(2)]).eval()
    randomize(model, 3)
    # The same tokens in another order, of which only the first sentence has the phrase.
    batch = [["to", "New", "York"], ["York", "to", "New"]]
    engine = OnnxEngine(export_model(model, vocab), vocab)
    expected = model.emissions(make_batch(batch, model.indexers))
    actual = engine.emissions(make_batch(batch, engine.indexers))
    np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=1e-4)
    for member in model.members:
        member.embeddings[1].vectors.weight.data.zero_()
    without = model.emissions(make_batch(batch, model.indexers))
    difference = np.abs(without - expected).max(axis=(1, 2))
    assert difference[0] > 0.01 and difference[1] == 0


def test_a_network_without_vectors_of_words_is_not_exported():
    model, vocab = built([[small("embedding", "gazetteer")], small("encoder", "recurrent"), "crf"])
    assert model.emissions(make_batch([["New", "York"]], model.indexers)).shape[:2] == (1, 2)
    with pytest.raises(ExportError, match="no embedding of single words"):
        export_model(model, vocab)


@pytest.mark.parametrize("kind", ["embedding", "cell", "encoder", "tagger"])
def test_unsupported_networks_are_reported(kind):
    unsupported = {name for name in REGISTRIES[kind].names() if REGISTRIES[kind].part(name).export}
    assert unsupported == {
        "tagger": {"aligned", "focus", "show_attend_tell"},
        "embedding": {"transformer"},
    }.get(kind, set())


@pytest.mark.parametrize("scheme", ["iob1", "bioes"])
def test_transitions_are_exported(scheme):
    model, vocab = built([["word"], small("encoder", "recurrent"), "crf"], scheme)
    engine = OnnxEngine(export_model(model, vocab), vocab)
    expected = model.tagger.transitions()
    for name in ("start", "matrix", "end"):
        np.testing.assert_array_equal(getattr(engine.transitions, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("cell", "operator"),
    [
        ("elman", "RNN"),
        ({"name": "elman", "activation": "relu"}, "RNN"),
        ({"name": "elman", "activation": "linear"}, "Scan"),
        ("lstm", "LSTM"),
        ({"name": "lstm", "peepholes": "all"}, "LSTM"),
        ({"name": "lstm", "coupled": True, "peepholes": ["output"]}, "LSTM"),
        ({"name": "lstm", "input_gate": False}, "Scan"),
        ({"name": "lstm", "gate_recurrence": True}, "Scan"),
        ({"name": "lstm", "relevance_gate": True}, "Scan"),
        ("gru", "GRU"),
        ({"name": "gru", "reset": "before"}, "GRU"),
        ({"name": "gru", "reset": "none"}, "Scan"),
        ("clockwork", "Scan"),
    ],
)
def test_recurrent_operator_replaces_scan(cell, operator):
    encoder = {**small("encoder", "recurrent"), "cell": cell, "layers": 2}
    model, vocab = built([["word"], encoder, "crf"])
    actual = operators(export_model(model, vocab))
    assert actual.count(operator) == 2
    assert not {"RNN", "LSTM", "GRU", "Scan", operator}.intersection(actual) - {operator}


def test_token_vectors_are_cached():
    model, vocab = built(
        [["word", small("embedding", "char_cnn")], small("encoder", "recurrent"), "crf"]
    )
    engine = OnnxEngine(export_model(model, vocab), vocab)
    vectors = engine.indexers[0]
    calls = []
    embed = vectors._embed
    vectors._embed = lambda features, count: (
        calls.append(features["ids_0_0"].shape) or embed(features, count)
    )
    for tokens in ([["leave", "Taipei"]], [["Taipei", "leave", "leave"]], [["leave", "Boston"]]):
        engine.predict(make_batch(tokens, engine.indexers))
    assert calls == [(1, 2), (1, 1)]


@pytest.mark.parametrize(("window", "size"), [(0, 7), (1, 5)])
def test_context_free_encoders_are_part_of_the_token_vector(window, size):
    layer = {"name": "feedforward", "hidden_size": 7, "window": window}
    model, vocab = built(
        [[{"name": "word", "size": 5}], [layer, small("encoder", "recurrent")], "crf"]
    )
    exported = export_model(model, vocab)
    engine = OnnxEngine(exported, vocab)
    ((vectors,),) = make_batch([["leave", "Taipei"], ["at"]], engine.indexers).features
    assert vectors.shape == (2, 2, size) and not vectors[1, 1].any()
    assert ("Relu" in operators(exported)) == (window == 1)
    for tokens in BATCHES:
        assert engine.predict(make_batch(tokens, engine.indexers)) == model.predict(
            make_batch(tokens, model.indexers)
        )


@pytest.mark.parametrize("limit", ["MAX_CACHED_TOKENS", "MAX_CACHED_FLOATS"])
def test_token_vector_cache_is_bounded(limit, monkeypatch):
    model, vocab = built(
        [["word", small("embedding", "char_cnn")], small("encoder", "recurrent"), "crf"]
    )
    numbers = sum(part.output_size for part in model.embeddings)
    monkeypatch.setattr(
        f"slotfill.inference.onnx_engine.{limit}",
        5 if limit == "MAX_CACHED_TOKENS" else 5 * numbers + 1,
    )
    engine = OnnxEngine(export_model(model, vocab), vocab)
    for tokens in BATCHES * 2:
        assert engine.predict(make_batch(tokens, engine.indexers)) == model.predict(
            make_batch(tokens, model.indexers)
        )
        most = max(5, *(len(unique_tokens(batch)) for batch in BATCHES))
        assert len(engine.indexers[0]._rows) <= most and len(engine.indexers[0]._table) <= most + 1
    assert len(engine.indexers[0]._rows) < len(
        unique_tokens(tokens for batch in BATCHES for tokens in batch)
    )


def test_wrong_operator_is_detected(monkeypatch):
    model, vocab = built([["word"], {**small("encoder", "recurrent"), "cell": "mut1"}, "crf"])
    wrong = (
        Network(vocab, ["word"], small("encoder", "recurrent"), "crf")
        .encoders[0]
        .layers[0]
        .onnx_operator()
    )
    monkeypatch.setattr(type(model.encoders[0].layers[0]), "onnx_operator", lambda self: wrong)
    with pytest.raises(ExportError, match="from torch's"):
        export_model(model, vocab)


class TorchTransformer(Encoder):
    """Torch's own layers, with padding masked."""

    def __init__(self, size, **options):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(size, 2, 8, batch_first=True, **options)
        self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x, lengths):
        mask = torch.arange(x.size(1)) < lengths.unsqueeze(1)
        return self.layers(x, src_key_padding_mask=~mask) * mask.unsqueeze(2)


@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"}])
def test_transformer_layers_of_torch_are_exported(options):
    """`export_model` compares emissions and tags with torch's."""
    model, vocab = built([["word"], small("encoder", "recurrent"), "crf"])
    encoder = TorchTransformer(model.encoders[0].output_size, **options).eval()
    randomize(encoder, 4, 0.5)
    model.encoders.append(encoder)
    assert "LayerNormalization" in operators(export_model(model, vocab))
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_functions_that_can_be_exported_are_documented():
    page = Path(__file__).parents[2].joinpath("docs", "export.md").read_text(encoding="utf-8")
    section = page.partition("## Functions that can be exported\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(\w+)`", section.partition("\n\n")[2]))
    # Operators of Python have a second name that begins with an r.
    operators = {"radd", "rsub", "rmul", "rdiv", "truediv", "rtruediv"}
    operators |= {"invert", "getitem", "and", "or", "type_as"}
    assert listed == {*OPERATORS, *COMPOSITIONS} - operators


def by_order(x):
    return x.sort(dim=1)[0]


def by_length(x):
    """len() returns a constant, so the export would be correct only for the example."""
    return x + torch.zeros(len(x), 1, 1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (by_order, r"torch's sort\(\)"),
        (by_length, r"len\(\)"),
        (lambda x: torch.nn.functional.gelu(x, approximate="tanh"), r"torch's gelu\(\) is called"),
        (lambda x: x.squeeze(), r"torch's squeeze\(\) is called with arguments that are not"),
    ],
)
def test_export_error_names_the_operation(function, message):
    class Odd(Encoder):
        def forward(self, x, lengths):
            return function(x)

    model, vocab = built([["word"], small("encoder", "recurrent"), "crf"])
    model.encoders[0] = Odd()
    with pytest.raises(ExportError, match=message):
        export_model(model, vocab)


def test_swapped_onnx_files_are_not_loaded():
    parts = [["word"], small("encoder", "recurrent"), "crf"]
    model, vocab = built(parts)
    one = export_model(model, vocab)
    for half in ("embedding.onnx", "model.onnx"):
        with pytest.raises(RunError, match=r"\.onnx: not an ONNX file of slotfill"):
            OnnxEngine(dict.fromkeys(one, one[half]), vocab)


def test_metadata_describes_the_model():
    model, vocab = built([["word", "char_cnn"], small("encoder", "recurrent"), "crf"])
    for name, half in export_model(model, vocab, {"tokenizer": "words", "scheme": "bioes"}).items():
        (entry,) = onnx.load_from_string(half).metadata_props
        about = json.loads(entry.value)
        assert entry.key == "slotfill"
        assert about["texts"] == {"tokenizer": "words", "scheme": "bioes"}
        if name == "embedding.onnx":
            assert [settings["kind"] for settings in about["indexers"]] == ["token", "character"]


# The table of operators, beyond what registered parts use

WINDOW = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(2))
FUNCTIONS = {
    "arithmetic": lambda x, n: (1 - x) / (2 + x * x) - (x - 1) * 2 + (3 - x) % 2,
    "comparisons": lambda x, n: (
        torch.where((x > 0) & (x <= 1) | ~(x >= -1), x, -x) + (x != 0).float() + (x == 1) * 2
    ),
    "sums": lambda x, n: (
        x.sum(1, keepdim=True) + x.mean(2, keepdim=True) + x.amin(1, keepdim=True) + x.sum()
    ),
    "sizes": lambda x, n: (
        x * x.shape[1] + x.shape[0] * 2 - 7 // x.shape[1] + (5 - x.shape[0]) + x.numel()
    ),
    "slices": lambda x, n: (
        x[:, 1 : x.shape[1] - 1, None] + x[:, :1, None, -3:] + x[:, 0][:, None, None]
    ),
    "new": lambda x, n: (
        torch.zeros_like(x)
        + x.new_ones(x.shape[0], 1, 1)
        + torch.ones_like(x) * torch.full_like(x, 3)
    ),
    "joined": lambda x, n: (
        torch.stack((x, x.exp()), 2).flatten(0, 1).reshape(-1, 2 * x.shape[2]).log_softmax(1)
    ),
    "turned": lambda x, n: (
        x.transpose(1, 2).permute((2, 0, 1)).unfold(0, 2, 1).squeeze(-1).contiguous()
    ),
    "taken": lambda x, n: (
        x.gather(2, x.argmax(2, keepdim=True)) + torch.cat(x.chunk(3, dim=2)[::-1], 2).softplus()
        if hasattr(x, "softplus")
        else x.gather(2, x.argmax(2, keepdim=True)) + torch.cat(x.chunk(3, dim=2)[::-1], 2)
    ),
    "limits": lambda x, n: (
        x.clamp(-0.5, 0.5) + x.clamp(max=0.1) * n.clamp_min(2)[:, None, None] + x.clamp_max(0.3)
    ),
    "log sigmoid": lambda x, n: torch.nn.functional.logsigmoid(30 * x),
    "convolution": lambda x, n: (
        torch.nn.functional.conv1d(
            x.transpose(1, 2), WINDOW, WINDOW[:, 0, 0], padding="same", dilation=2
        )
        + torch.nn.functional.conv1d(x.transpose(1, 2), WINDOW[:, :, 1:], padding=1)[..., 1:]
    ),
    "other activations": lambda x, n: (
        torch.nn.functional.silu(x)
        + torch.nn.functional.leaky_relu(x, 0.2)
        + torch.nn.functional.glu(torch.cat((x, -x), 2))
        + x.round()
        + x.floor()
        + x.ceil()
        + x.sign()
        + x.square().rsqrt()
    ),
    "sums of parts": lambda x, n: (
        x.cumsum(1)
        + x.logsumexp(2, keepdim=True)
        + x.flip(1, 2)
        + torch.einsum("bti,ij->btj", x, WINDOW[0])
        + x.size(1)
        + x.logsumexp(1).sum()
    ),
    "positions": lambda x, n: (
        x * (torch.arange(x.shape[1]) < n.unsqueeze(1)).unsqueeze(2).to(x.dtype)
    ),
    "positions from": lambda x, n: (
        x + torch.arange(1, x.shape[1] + 1).float().unsqueeze(1).expand(-1, 3).sqrt()
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operators_match_torch(name):
    import onnxruntime

    function = FUNCTIONS[name]
    tracer = OnnxTracer()
    examples = [
        (torch.zeros(2, 4, 3), torch.tensor([4, 2])),
        (torch.zeros(3, 5, 3), torch.tensor([1, 5, 3])),
    ]
    x, n = (tracer.input(name, *pair) for name, *pair in zip(("x", "n"), *examples, strict=True))
    with tracer:
        result = function(x, n)
    model = tracer.model({"x": x, "n": n}, {"y": result}, "{}")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    for batch, time in ((2, 4), (1, 3), (7, 6)):
        x = torch.randn(batch, time, 3, generator=generator)
        n = torch.randint(1, time + 1, (batch,), generator=generator)
        (actual,) = session.run(["y"], {"x": x.numpy(), "n": n.numpy()})
        np.testing.assert_allclose(actual, function(x, n).numpy(), atol=1e-5, rtol=1e-5)
