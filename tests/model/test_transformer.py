"""Pretrained transformers: options against the library's output; runs are self-contained."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from part_cases import FILES, NO_TRANSFORMERS, SENTENCES, STRANGE, make_transformer, make_vocab
from safetensors.torch import load_file, save_file

from slotfill.config.builtin import load_config
from slotfill.config.registry import EMBEDDINGS
from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, RunError, UsageError
from slotfill.runs.load import load_run

PATH = FILES["transformer"]["path"]
TOKENS = [sentence.tokens for sentence in SENTENCES]


@pytest.fixture(autouse=True)
def tiny():
    if NO_TRANSFORMERS:
        pytest.skip(NO_TRANSFORMERS)
    make_transformer()


def built(**options):
    return EMBEDDINGS.build({"name": "transformer", "path": PATH, **options}, make_vocab()).eval()


def embed(part, batch):
    return part(*map(torch.from_numpy, part.indexer.index(batch))).detach()


def naive(tokens, pooling, mixed):
    """Return the vectors of one sentence from the library's model and tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(PATH), AutoModel.from_pretrained(PATH).eval()
    cut = [
        tokenizer(token, add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id]
        for token in tokens
    ]
    first, last = (tokenizer.convert_tokens_to_ids(end) for end in ("[CLS]", "[SEP]"))
    ids = [first, *chain.from_iterable(cut), last]
    with torch.no_grad():
        actual = network(torch.tensor([ids]), output_hidden_states=True)
    states = actual.last_hidden_state[0]
    if mixed is not None:
        states = sum(
            share * layer[0] for share, layer in zip(mixed, actual.hidden_states, strict=True)
        )
    rows, position = [], 1
    for subwords in cut:
        own = states[position : position + len(subwords)]
        rows.append(own[0] if pooling == "first" else sum(own) / len(own))
        position += len(subwords)
    return torch.stack(rows)


def test_a_static_table_of_all_layers_has_the_products_of_their_states():
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "make_static_table.py"))
    pieces, vectors, _ = script["read_encoder"](Path(PATH), 1000, layers=True)
    layers = []
    for share in ([1, 0, 0], [0, 1, 0], [0, 0, 1]):
        states = torch.stack([naive([piece], "first", share)[0] for piece in pieces[-2:]])
        layers.append((states[0] - states[1]).numpy())
    # The differences of two pieces, of which a factor for each layer is not known.
    found = np.split(vectors[-2] - vectors[-1], 3)
    for one, other in zip(found, layers, strict=True):
        assert np.dot(one, other) == pytest.approx(np.linalg.norm(one) * np.linalg.norm(other))
    squares = (vectors**2).reshape(len(pieces), 3, -1).mean(axis=(0, 2))
    np.testing.assert_allclose(squares, 1)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("layers", ["last", "mix"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_matches_transformers(pooling, layers):
    part = built(pooling=pooling, layers=layers)
    mixed = None
    if layers == "mix":
        with torch.no_grad():
            part.mix.copy_(torch.tensor([0.3, -0.5, 1.1]))
            part.gamma.fill_(1.7)
        weights = np.exp([0.3, -0.5, 1.1])
        mixed = [1.7 * float(each) for each in weights / weights.sum()]
    together = embed(part, TOKENS)
    for tokens, row in zip(TOKENS, together, strict=True):
        torch.testing.assert_close(
            row[: len(tokens)], naive(tokens, pooling, mixed), atol=1e-5, rtol=1e-5
        )


def test_independent_of_the_batch():
    part = built(pooling="mean")
    batch = [*TOKENS, *STRANGE, ["leave", "at", "Taipei"] * 40]
    together = embed(part, batch)
    for tokens, row in zip(batch, together, strict=True):
        torch.testing.assert_close(row[: len(tokens)], embed(part, [tokens])[0], atol=1e-5, rtol=0)


def test_token_without_subwords_is_unknown():
    part = built()
    actual = part.indexer.index([["leave", "\u200d", "leave"]])[0]
    unknown = part.indexer.index([["leave", "🛫", "leave"]])[0]
    assert actual.tolist() == unknown.tolist()


def test_long_sentences_are_split_into_windows():
    """Windows of complete tokens, as many as fit; each is encoded as a sentence."""
    part = built()
    subwords, lengths, positions, _ = part.indexer.index([["taipei"] * 30])  # tai ##p ##e ##i
    assert part.indexer.max_subwords == 30 and subwords.shape[1] == 30
    assert lengths.tolist() == [7 * 4 + 2] * 4 + [2 * 4 + 2]
    assert [each for each in positions.flatten() if each] == list(range(1, 31))
    actual = embed(part, [["leave"] * 70])[0]
    for start, end in ((0, 30), (30, 60), (60, 70)):
        alone = embed(part, [["leave"] * (end - start)])[0]
        torch.testing.assert_close(actual[start:end], alone, atol=1e-5, rtol=0)
    assert embed(part, [["ab" * 45]]).isfinite().all(), "one word of more subwords than fit is cut"


def test_only_trainable_weights_have_gradients():
    frozen, tuned, mixed = built(), built(trainable=True), built(layers="mix")
    names = {name for name, parameter in mixed.named_parameters() if parameter.requires_grad}
    assert names == {"mix", "gamma"}
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in tuned.parameters())
    for module in (frozen, tuned):
        module.network.embeddings.dropout.p = 0.5
        module.train()
    assert torch.equal(embed(frozen, TOKENS), embed(frozen, TOKENS)), (
        "without noise, as it was left"
    )
    assert not torch.equal(embed(tuned, TOKENS), embed(tuned, TOKENS))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_separate_learning_rate(optimizer, corpus):
    """After one step at the peak rate each weight has moved by its learning rate."""
    from slotfill.config.sections import TrainConfig
    from slotfill.model.network import Network
    from slotfill.training.trainer import Trainer

    vocab = Vocab.from_sentences(SENTENCES, "iob2")
    part = {
        "name": "transformer",
        "path": PATH,
        "trainable": True,
        "layers": "mix",
        "learning_rate": 1e-4,
    }
    config = TrainConfig(
        optimizer=optimizer,
        learning_rate=1e-2,
        schedule="constant",
        warmup_epochs=0.0,
        gradient_clip=0.0,
        ema_decay=0.0,
    )
    torch.manual_seed(1)
    model = Network(vocab, ["word", part], "feedforward", "softmax")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = Trainer(model, config, vocab, SENTENCES, SENTENCES, lambda *_: {"valid_f1": 0.0})

    class Stop(Exception):
        """Ends training after one step."""

    def report(progress):
        raise Stop

    with pytest.raises(Stop):
        next(trainer.train(report))
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, gradient in gradients.items():
        rate = 1e-4 if ".network." in name else 1e-2
        moved = before[name] - model.state_dict()[name]
        # Adam's first step is by its rate, whatever the gradient.
        expected = rate * (gradient if optimizer == "sgd" else gradient / (gradient.abs() + 1e-8))
        torch.testing.assert_close(moved, expected, atol=1e-6 + rate * 1e-3, rtol=1e-2)


@pytest.mark.parametrize("tune", [False, True])
def test_run_does_not_need_the_folder(tune, desk, cli, monkeypatch):
    shutil.copytree(PATH, desk / "tiny-bert")
    part = (
        f"{{name: transformer, path: tiny-bert, trainable: {str(tune).lower()},"
        " pooling: mean, layers: mix}"
    )
    text = (desk / "tiny.yaml").read_text().replace("{name: word, size: 8}", part)
    (desk / "own.yaml").write_text(text)
    result = cli("train", "own.yaml", "--out", "run")
    assert (
        result.code == 0
        and "Prediction needs torch: its embedding reads complete sentences" in result.out
    )
    scores = json.loads((desk / "run" / "scores.json").read_text())
    shutil.rmtree(desk / "tiny-bert")
    answer = cli("evaluate", "run", "--json")
    assert json.loads(answer.out)["overall"] == scores["splits"]["test"]["overall"]
    answer = cli("predict", "run", "leave Oslo for Lima")
    assert answer.code == 0 and answer.err == ""
    weights = load_run(desk / "run").engine.state_dict()
    moved = any(
        not torch.equal(weights[f"embeddings.0.network.{n}"], p)
        for n, p in built().network.named_parameters()
    )
    assert moved == tune


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The local cache with the tiny model as `someone/tiny-bert`, without network access."""
    from huggingface_hub import constants

    folder = tmp_path / "models--someone--tiny-bert"
    shutil.copytree(PATH, folder / "snapshots" / "0a1b")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0a1b")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def refuse(*arguments, **options):
        raise AssertionError("something was to be fetched")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    return folder / "snapshots" / "0a1b"


def refusal(path):
    with pytest.raises(ConfigError) as error:
        EMBEDDINGS.build({"name": "transformer", "path": str(path)}, make_vocab())
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"embedding.path: {path}: ")


def test_name_is_read_from_the_cache_without_network(cache):
    torch.testing.assert_close(
        embed(built(path="someone/tiny-bert"), TOKENS), embed(built(), TOKENS)
    )
    assert (
        refusal("someone/tiny-bart")
        == "neither a folder nor in the local cache; nothing is downloaded; "
        "did you mean 'someone/tiny-bert'? (allowed: someone/tiny-bert)"
    )
    assert "neither a folder nor in the local cache" in refusal("not a name")
    (cache / "model.safetensors").rename(cache / "pytorch_model.bin")
    assert refusal("someone/tiny-bert").startswith(
        "pytorch_model.bin is a pickle; convert the weights to safetensors"
    )


def test_errors_are_one_line(tmp_path):
    folder = Path(shutil.copytree(PATH, tmp_path / "pickled"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert refusal(folder) == "pytorch_model.bin is a pickle; convert the weights to safetensors"
    (folder / "pytorch_model.bin").unlink()
    assert refusal(folder).startswith("it has no model.safetensors; ")
    (folder / "model.safetensors").write_bytes(b"cut short")
    assert refusal(folder).startswith("no model can be read from it (")
    weights = load_file(f"{PATH}/model.safetensors")
    save_file(
        {name: each for name, each in weights.items() if "layer.1.output" not in name},
        folder / "model.safetensors",
    )
    assert (
        refusal(folder) == "4 weights are missing in model.safetensors,"
        " such as encoder.layer.1.output.LayerNorm.bias"
    )
    shutil.copy(f"{PATH}/model.safetensors", folder)
    (folder / "tokenizer.json").unlink()
    assert refusal(folder) == "it has no tokenizer.json"


def test_settings_of_the_process_are_left_as_they_are(cache, monkeypatch):
    """Another library of the same process may use the network."""
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    def settings():
        names = [name for name in os.environ if name.startswith(("HF_", "TRANSFORMERS_"))]
        return names, constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    before = settings()
    built(path="someone/tiny-bert")
    assert settings() == before


def test_tokens_that_were_added_without_a_vector_are_unknown(tmp_path):
    folder = Path(shutil.copytree(PATH, tmp_path / "added"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = tokenizer["added_tokens"][0] | {"id": 5000, "content": "image"}
    tokenizer["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    indexer = built(path=str(folder)).indexer
    assert indexer.index([["image"]])[0].tolist() == indexer.index([["🛫"]])[0].tolist()


@pytest.mark.parametrize("restored", [False, True])
def test_keys_of_other_tasks_are_ignored(restored, tmp_path):
    """The library makes a table of labels, and its models may return a plain tuple."""
    other = {"num_labels": 3000, "problem_type": "x", "return_dict": False}
    vocab, part = make_vocab(), {"name": "transformer", "path": PATH}
    if restored:
        EMBEDDINGS.build(part, vocab)
        vocab.resources[PATH]["config"] |= other | {"id2label": {"x": "y"}}
        vocab = Vocab.from_json(json.dumps(vocab.to_json()).encode())
    else:
        part["path"] = str(
            change_file(tmp_path, "config.json", lambda config: config.update(other))
        )
    network = EMBEDDINGS.build(part, vocab).network
    assert network.config.num_labels == 2, "the default"


def change_file(folder, name, change):
    """Return a copy of the model in `folder` whose JSON file `name` was changed."""
    copied = Path(shutil.copytree(PATH, folder / "changed"))
    content = json.loads((copied / name).read_text())
    change(content)
    (copied / name).write_text(json.dumps(content))
    return copied


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        (
            "config.json",
            lambda config: config.update(num_hidden_layers=10**9),
            "num_hidden_layers is 1,000,000,000; at most 1,000 is allowed",
        ),
        (
            "config.json",
            lambda config: config.update(hidden_act="geluu"),
            "unknown hidden_act 'geluu'; did you mean 'gelu'? (allowed: gelu, gelu_10, ",
        ),
        (
            "config.json",
            lambda config: config.update(num_attention_heads=0),
            "ZeroDivisionError: ",
        ),
        (
            "tokenizer.json",
            lambda tokenizer: tokenizer["model"]["vocab"].update(zz=2**32 - 1),
            "its tokenizer has the id 4294967295 of 'zz', its model those up to 81",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(name, change, problem, tmp_path):
    folder = change_file(tmp_path, name, change)
    assert refusal(folder).startswith(f"no model can be read from it ({problem}")


def test_unknown_model_type_of_a_run():
    vocab = make_vocab()
    EMBEDDINGS.build({"name": "transformer", "path": PATH}, vocab)
    vocab.resources[PATH]["config"]["model_type"] = "of-tomorrow"
    message = r"transformers [\d.]+ cannot build the model of embedding transformer \(.+of-tomorrow"
    with pytest.raises(RunError, match=f"^vocab.json: {message}"):
        again = Vocab.from_json(json.dumps(vocab.to_json()).encode())
        EMBEDDINGS.build({"name": "transformer", "path": PATH}, again)


def test_missing_library(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'slotfill\[transformers\]'"):
        built()


def test_relative_folder_is_relative_to_the_config(desk):
    (desk / "models").mkdir()
    for path, actual in (("models", str(desk / "models")), ("some/name", "some/name")):
        (desk / "own.yaml").write_text(
            f"data: {{path: corpus}}\nembedding: {{name: transformer, path: {path}}}\n"
        )
        assert load_config("own.yaml", need_data=True)[1].embedding[0]["path"] == actual
        assert load_config("own.yaml")[1].embedding[0]["path"] == path, "as a run is read"


def test_batch_of_many_lengths():
    part = built(pooling="mean")
    batch = make_batch([["leave"] * length for length in (1, 33, 2, 64)], [part.indexer])
    _, _, positions, tokens = batch.features[0]
    used = {int(position) for position in positions.flatten()} - {0}
    assert used == {
        row * 64 + position + 1
        for row, length in enumerate((1, 33, 2, 64))
        for position in range(length)
    }
    assert tokens.shape == (4, 64)
