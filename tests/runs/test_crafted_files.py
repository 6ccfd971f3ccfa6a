"""Files of a run that were crafted, not damaged: valid checksums, content that does not fit."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import struct
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from part_cases import (
    FILES,
    NO_TRANSFORMERS,
    copy_with_transformer,
    make_transformer,
    make_vocab,
)
from safetensors.torch import load_file, save_file

from slotfill.config.registry import EMBEDDINGS
from slotfill.data.batching import make_batch
from slotfill.data.sentence import Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import ConfigError, RunError, UsageError
from slotfill.inference.onnx_engine import ONNX, OnnxEngine
from slotfill.model.embeddings._subwords import PROBES, SubwordIndexer
from slotfill.runs.card import render_card
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import (
    load_run,
    parse_tensors,
    parse_values,
    parse_vocab,
    read_history,
)
from slotfill.runs.manifest import MANIFEST, RunFiles
from slotfill.runs.predict import Predictor

WRONG = [
    None,
    True,
    "x",
    "",
    3,
    -1,
    10**40,
    0.5,
    1e308,
    [],
    {},
    [[]],
    [None],
    {"x": []},
    ["O", "O"],
]
WRONG += ["\ud800", ["\ud800"], {"": -(2**70)}]
DEEP = "[" * 100_000


def mutations(value, path=()):
    """Yield the paths of up to three entries of each level of parsed JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in list(entries)[:6]:
        yield (*path, key)
        if isinstance(entry, dict | list):
            yield from mutations(entry, (*path, key))


def mutated(value):
    """Yield JSON texts that differ from `value` in one entry, or in their form."""
    yield from ("", "null", "3", "[]", "{}", '"x"', "{", DEEP, '{"a":' * 100_000, "\x00", "NaN")
    for path in mutations(value):
        for wrong in (..., *WRONG):
            changed = copy.deepcopy(value)
            target = changed
            for key in path[:-1]:
                target = target[key]
            if wrong is ...:
                del target[path[-1]]
            else:
                target[path[-1]] = wrong
            yield json.dumps(changed)


def one_line(action):
    """Run `action`, which either works or is refused by one line."""
    try:
        action()
    except RunError as error:
        assert str(error) and "\n" not in str(error)
        return True
    return False


def test_any_vocabulary_is_valid_or_one_line(trained):
    content = (trained / "vocab.json").read_bytes()
    files = {name: (trained / name).read_bytes() for name in ONNX}
    sentences = load_run(trained).vocab

    def use(text):
        vocab = parse_vocab(text.encode(), trained)
        engine = OnnxEngine(files, vocab)
        words = list(sentences.tokens)[:5]
        for path in engine.predict(make_batch([words], engine.indexers))[0]:
            vocab.tags_to_slots(path)

    refused = [one_line(lambda text=text: use(text)) for text in mutated(json.loads(content))]
    assert sum(refused) > 100
    use(content.decode())


def test_any_known_values_are_valid_or_one_line(trained):
    rules = [
        {"slot": "a", "action": "fill", "pattern": "x(?P<value>y)"},
        {"slot": "a", "action": "veto", "phrases": ["new york", "oslo"]},
    ]
    resolve = {"slots": {}, "language": "en"}
    values = {"rules": rules, "synonyms": {"a": {"oslo": "Oslo"}}, "resolve": resolve}
    sentence = Tokenizer().tokenize("from Oslo to xy")
    sentence.slots = [Slot("a", 1, 2)]

    def use(text):
        known = parse_values(text.encode(), trained)
        known.rules.apply(sentence, sentence.slots, [0.5])
        with suppress(ValueError):  # Of a language that is not known.
            known.resolver(datetime(2026, 1, 1)).resolve(sentence)

    refused = [one_line(lambda text=text: use(text)) for text in mutated(values)]
    assert sum(refused) > 20
    use(json.dumps(values))
    for pattern in ("(" * 5000 + ")" * 5000, "x{1,99999999999}", "(", "\ud800"):
        rule = rules[0] | {"pattern": pattern}
        assert one_line(lambda rule=rule: use(json.dumps(values | {"rules": [rule]})))


@pytest.mark.parametrize("name", ONNX)
def test_any_metadata_of_an_onnx_file_is_valid_or_one_line(name, trained):
    vocab = load_run(trained).vocab
    files = {each: (trained / each).read_bytes() for each in ONNX}
    model = onnx.load_from_string(files[name])
    (entry,) = model.metadata_props
    original = entry.value

    def use(text):
        entry.value = text
        engine = OnnxEngine(files | {name: model.SerializeToString()}, vocab)
        engine.predict(make_batch([["leave", "Oslo"]], engine.indexers))

    texts = [text for text in mutated(json.loads(original)) if len(text) < 100_000]
    assert sum(one_line(lambda text=text: use(text)) for text in [*texts, DEEP[:5000]]) > 30
    use(original)
    not_utf8 = model.SerializeToString().replace(original.encode(), b"\xff" * len(original))
    with pytest.raises(RunError, match="codec can't decode"):
        OnnxEngine(files | {name: not_utf8}, vocab)
    del model.metadata_props[:]
    with pytest.raises(RunError):
        OnnxEngine(files | {name: model.SerializeToString()}, vocab)


def test_an_onnx_file_of_other_sizes_is_one_line(trained):
    """The files of two networks are combined."""
    run = load_run(trained)
    files = {each: (trained / each).read_bytes() for each in ONNX}
    for name in ONNX:
        model = onnx.load_from_string(files[name])
        for tensor in model.graph.initializer:
            changed = onnx.load_from_string(files[name])
            (target,) = (each for each in changed.graph.initializer if each.name == tensor.name)
            array = onnx.numpy_helper.to_array(target)
            if array.ndim == 0 or array.size < 2:
                continue
            smaller = onnx.numpy_helper.from_array(array[:-1].copy(), target.name)
            target.CopyFrom(smaller)

            def use(changed=changed, name=name):
                engine = OnnxEngine(files | {name: changed.SerializeToString()}, run.vocab)
                engine.predict(make_batch([["leave", "Oslo", "for"], ["x"]], engine.indexers))

            one_line(use)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.BOOL])
def test_an_onnx_file_of_other_numbers_is_one_line(kind, trained):
    run = load_run(trained)
    files = {each: (trained / each).read_bytes() for each in ONNX}
    for name in ONNX:
        model = onnx.load_from_string(files[name])
        (output, *_) = model.graph.output
        for node in model.graph.node:
            node.output[:] = ["floats" if each == output.name else each for each in node.output]
        model.graph.node.append(onnx.helper.make_node("Cast", ["floats"], [output.name], to=kind))
        output.type.tensor_type.elem_type = kind
        content = files | {name: model.SerializeToString()}
        with pytest.raises(RunError, match=rf"{name}: .* has no 32-bit floats"):
            OnnxEngine(content, run.vocab, trained)


def test_the_names_of_an_onnx_file_are_not_printed(trained, capfd):
    """ONNX Runtime would log the node that fails."""
    run = load_run(trained)
    files = {each: (trained / each).read_bytes() for each in ONNX}
    model = onnx.load_from_string(files["model.onnx"])
    (output, *_) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["before" if each == output.name else each for each in node.output]
    shape = onnx.numpy_helper.from_array(np.array([7, 13]), "shape")
    model.graph.initializer.append(shape)
    failing = onnx.helper.make_node("Reshape", ["before", "shape"], [output.name], name="\x1b[2J")
    model.graph.node.append(failing)
    with pytest.raises(RunError, match=r"model\.onnx: not an ONNX file of slotfill"):
        OnnxEngine(files | {"model.onnx": model.SerializeToString()}, run.vocab, trained)
    assert capfd.readouterr() == ("", "")


def test_any_header_of_the_weights_is_valid_or_one_line(trained):
    content = (trained / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    path = Path("model.safetensors")
    texts = [*mutated(header)]
    for tensor in (name for name in header if name != "__metadata__"):
        for change in ({"dtype": "I64"}, {"shape": [2**62, 4]}, {"data_offsets": [0, 2**63]}):
            texts.append(json.dumps(header | {tensor: header[tensor] | change}))
    refused = [
        one_line(
            lambda text=text: parse_tensors(
                struct.pack("<Q", len(text.encode())) + text.encode() + data, path
            )
        )
        for text in texts
    ]
    assert sum(refused) > 100
    for broken in (b"", b"\0" * 7, struct.pack("<Q", 2**64 - 1) + b"{}", b"\xff" * 100):
        assert one_line(lambda broken=broken: parse_tensors(broken, path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:-1], "is torch.float32 (4,), but config.yaml needs torch.float32 (5,)"),
        (lambda t: t.double(), "is torch.float64 (5,), but config.yaml needs torch.float32 (5,)"),
        (lambda t: None, "is missing, but config.yaml needs torch.float32 (5,)"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_one_line(change, message, trained, tmp_path):
    weights = load_file(trained / "model.safetensors")
    name = "tagger.linear.bias"
    weights[name] = change(weights[name])
    save_file({key: each for key, each in weights.items() if each is not None}, tmp_path / "w")
    files = RunFiles(trained)
    with pytest.raises(RunError) as error:
        load_changed(files, (tmp_path / "w").read_bytes(), tmp_path)
    assert str(error.value) == (
        f"{tmp_path / 'run' / 'model.safetensors'}: {name} {message}; train the run again"
    )


def load_changed(files, content, folder):
    """Load a copy of a run with other weights, and a manifest of them."""
    return load_run(
        copy_changed(files.path, {"model.safetensors": content}, folder), engine="torch"
    )


def copy_changed(run, contents, folder):
    """Copy a run into `folder` with other `contents` and a manifest of them."""
    shutil.copytree(run, folder / "run", dirs_exist_ok=True)
    RunFiles(folder / "run").replace(contents)
    return folder / "run"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"language": "qq"}, "cannot resolve dates or numbers of the language 'qq'"),
        ({"slots": {"city": "number"}, "language": "../x"}, "cannot resolve dates or numbers of"),
        ({"slots": {"city": "colour"}}, "resolve.slots: unknown value 'colour'"),
        ({"date_order": "DDD"}, "resolve.date_order: unknown value 'DDD'"),
    ],
)
def test_what_values_are_resolved_by_is_validated(change, problem, trained, tmp_path):
    pytest.importorskip("dateparser", reason="pip install '.[values]'")
    resolve = {"slots": {"city": "date"}, "language": "en", "date_order": None} | change
    content = {"rules": [], "synonyms": {}, "resolve": resolve}
    run = copy_changed(trained, {"values.json": json.dumps(content).encode()}, tmp_path)
    with pytest.raises(RunError, match=re.escape(problem)) as error:
        Predictor.load(run)
    assert str(error.value).startswith(f"{run / 'values.json'}: ")
    assert "\n" not in str(error.value)


def test_a_network_that_is_larger_than_the_weights_is_not_allocated(trained, tmp_path):
    config = (trained / "config.yaml").read_bytes()
    larger = config.replace(b"hidden_size: 8", b"hidden_size: 20000")
    assert larger != config
    run = copy_changed(trained, {"config.yaml": larger}, tmp_path)
    with pytest.raises(ConfigError, match=r"config\.yaml:\d+: .*: needs more weights than the run"):
        load_run(run, engine="torch")


def test_weights_beside_an_onnx_file_are_not_read(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = onnx.load(trained / "model.onnx")
    tensor = next(each for each in model.graph.initializer if each.raw_data)
    Path("weights.bin").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    files = {name: (trained / name).read_bytes() for name in ONNX}
    with pytest.raises(RunError, match=r"External data path does not exist"):
        OnnxEngine(files | {"model.onnx": model.SerializeToString()}, load_run(trained).vocab)


def test_any_scores_and_environment_are_valid_or_one_line(trained, tmp_path):
    for name in ("scores.json", "environment.json"):
        content = json.loads((trained / name).read_bytes())
        if "splits" in content:
            content["splits"] = {"test": content["splits"]["test"]}
        refused = 0
        for number, text in enumerate(mutated(content)):
            if number % 23 == 0 or number < 11:
                run = copy_changed(trained, {name: text.encode()}, tmp_path)
                refused += one_line(partial(render_card, run))
        assert refused > 11
        shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"\0", b"epoch\n1\n", b"a\n1,2,3\n", b"epoch,loss,tokens_per_second\n1,x,3"],
)
def test_a_history_that_is_no_table_is_one_line(content, trained, tmp_path):
    run = copy_changed(trained, {"history.csv": content}, tmp_path)
    with pytest.raises(RunError, match=r"history\.csv: not a table of numbers"):
        read_history(RunFiles(run))


@pytest.fixture(scope="module")
def stored_transformer():
    """What the vocabulary of a run stores of the transformer of its embedding."""
    if NO_TRANSFORMERS:
        pytest.skip(NO_TRANSFORMERS)
    make_transformer()
    vocab, part = make_vocab(), {"name": "transformer", **FILES["transformer"]}
    EMBEDDINGS.build(part, vocab)
    return vocab.resources[part["path"]]


def change(stored, *keys, value):
    """Return a copy of `stored` in which the entry at the path `keys` is `value`."""
    changed = copy.deepcopy(stored)
    target = changed
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    return changed


PANICS = {"type": "TemplateProcessing", "pair": [], "special_tokens": {}}
PANICS["single"] = [
    {"Sequence": {"id": "A", "type_id": 0}},
    {"SpecialToken": {"id": "[X]", "type_id": 0}},
]
UNIGRAM = {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]], "byte_fallback": True}


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (["tokenizer", "model", "vocab", "tai"], 500, "the id 500 of 'tai', its model those up to"),
        (
            ["tokenizer", "model", "vocab", "tai"],
            2**32 - 1,
            "the id 4294967295 of 'tai', its model",
        ),
        (["tokenizer", "model", "vocab"], {"a": 1}, "Missing [UNK] token"),
        (["tokenizer", "model"], UNIGRAM, "`unk_id` is missing"),
        (["tokenizer", "post_processor"], PANICS, "its tokenizer has failed: "),
        (["tokenizer", "post_processor", "special_tokens", "[SEP]", "ids"], [2**31], "has the id"),
        (["padding"], -5, "its tokenizer has the id -5"),
        (["unknown"], "x", "unknown must be an integer"),
        (["most"], 2, "its maximum length, 2, is too short"),
        (["config", "max_position_embeddings"], 2, "its maximum length, 2, is too short"),
        (["config", "type_vocab_size"], 0, "cannot build"),
        (["config", "chunk_size_feed_forward"], 3, "multiple of the chunk size"),
        (["config", "hidden_act"], "geluu", "(unknown hidden_act 'geluu'; did you mean 'gelu'?"),
        (["config", "num_attention_heads"], 0, "(ZeroDivisionError: "),
        (["config", "num_hidden_layers"], 10**9, "is 1,000,000,000; at most 1,000 is allowed"),
        (
            ["config", "attention_types"],
            [[["local"], 10**9]],
            "attention_types is 1,000,000,000; at",
        ),
        (["config", "block_repeats"], [1, 10**9], "1,000,000,000; at most 100 is allowed"),
        (["config", "max_position_embeddings"], 10**9, "at most 1,048,576 is allowed"),
        (["config", "vocab_size"], 10, "its model those up to 9"),
        (["config", "vocab_size"], 10**12, "needs about"),
        (["config"], [1, 2], "config must be an object"),
    ],
)
def test_a_transformer_that_does_not_fit_is_one_line(
    keys, value, problem, stored_transformer, trained, tmp_path, capfd
):
    stored = change(stored_transformer, *keys, value=value)
    run = copy_with_transformer(trained, stored, tmp_path / "run")
    with pytest.raises(RunError, match=re.escape(problem)) as error:
        load_run(run, engine="torch")
    assert str(error.value).startswith(f"{run / 'vocab.json'}: transformers ")
    assert "embedding transformer" in str(error.value) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_token_that_the_tokenizer_of_a_run_cannot_split_is_unknown(stored_transformer):
    """A hostile tokenizer may know just the tokens that it is tried on."""
    stored = change(stored_transformer, "tokenizer", "model", "vocab", value={})
    stored["tokenizer"]["model"]["vocab"] = dict(zip(PROBES, range(len(PROBES)), strict=True))
    stored["tokenizer"]["normalizer"] = stored["tokenizer"]["post_processor"] = None
    stored["tokenizer"]["added_tokens"] = []
    indexer = SubwordIndexer(stored, "first", num_ids=9, max_positions=9)
    assert indexer.index([["leave", "a"]])[0].tolist() == [[stored["unknown"], 0]]


@pytest.mark.parametrize("name", [MANIFEST, "vocab.json"])
def test_a_pipe_a_device_and_a_huge_file_are_not_read(name, trained, tmp_path):
    for put in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), make_sparse):
        shutil.copytree(trained, tmp_path / "run")
        (tmp_path / "run" / name).unlink()
        put(tmp_path / "run" / name)
        with pytest.raises(RunError, match=rf"{name}: (cannot be read: not a reg|damaged|Expect)"):
            load_run(tmp_path / "run")
        shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "vocab.json", "environment.json", "parts.json"),
        *("checkpoint/manifest.json", "checkpoint/state.safetensors"),
    ],
)
def test_a_pipe_a_device_and_a_huge_file_of_a_stopped_run_are_not_read(
    name, is_listed, trained, desk, cli
):
    run = load_run(trained)
    for put in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), make_sparse):
        folder = RunFolder(Path("a"), force=True)
        folder.create(run.config, run.vocab)
        save_file({}, folder.partial / "checkpoint" / "state.safetensors")
        folder.release()
        if not is_listed:
            (folder.partial / "checkpoint" / "manifest.json").unlink()
        (folder.partial / name).unlink(missing_ok=True)
        put(folder.partial / name)
        result = cli("train", "--resume", "a", "--device", "cpu")
        is_special = put is not make_sparse
        if is_special and name.endswith("state.safetensors"):
            first = "a.partial was stopped in its first epoch"
        else:
            first = f"a.partial/{name}: "
        assert result.code in (1, 2) and result.err.startswith(f"slotfill: {first}"), result.err
        assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "name",
    [
        *("scores.json", "calibration.json", "config.yaml", "environment.json", "history.csv"),
        *("checkpoint", "checkpoint/manifest.json", "logs", "logs/mlflow_run_id", "replaced", ""),
    ],
)
def test_a_stopped_run_with_a_link_is_not_resumed(name, trained, desk, cli):
    run = load_run(trained)
    folder = RunFolder(Path("a"))
    folder.create(run.config, run.vocab)
    save_file({}, folder.partial / "checkpoint" / "state.safetensors")
    (folder.partial / "logs").mkdir()
    folder.release()
    link, outside = Path("a.partial", name), Path("outside")
    link.rename(outside) if link.exists() else outside.write_text("mine")
    link.symlink_to(outside.absolute())
    before = contents(outside)
    result = cli("train", "--resume", "a", "--device", "cpu")
    assert (result.code, result.out) == (2, "")
    assert (
        result.err == f"slotfill: {link}: is a link, through which nothing is written; put what it"
        " leads to in its place, as by cp -rL\n"
    )
    assert contents(outside) == before and link.is_symlink() and not Path("a").exists()
    outside.rename("elsewhere")
    result = cli("train", "--resume", "a", "--device", "cpu")
    assert result.code == 2 and result.err.count("\n") == 1 and not outside.exists()


def contents(path):
    """Return the content of each file in a folder, or of a file."""
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(file): file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize("name", ["values.json.new", "calibration.json"])
def test_a_run_with_a_link_is_not_changed(name, trained, tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(trained, run)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    with pytest.raises(UsageError, match=rf"run/{name}: is a link"):
        RunFiles(run).replace({"values.json": b"{}"})
    (run / name).unlink()
    assert not outside.exists()
    (tmp_path / "current").symlink_to(run)  # The whole may be one.
    RunFiles(tmp_path / "current").replace({"values.json": b"{}"})
    assert (run / "values.json").read_bytes() == b"{}"


def make_sparse(path):
    """Make a file of a terabyte that needs no space."""
    path.touch()
    os.truncate(path, 10**12)


def test_any_manifest_is_valid_or_one_line(trained, tmp_path):
    content = (trained / MANIFEST).read_text()
    for name in ("config.yaml", "vocab.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())

    def use():
        files = RunFiles(tmp_path)
        for name in ("config.yaml", "vocab.json"):
            files[name]

    for text in mutated(json.loads(content)):
        (tmp_path / MANIFEST).write_bytes(text.encode(errors="surrogatepass"))
        one_line(use)
    (tmp_path / MANIFEST).write_text(content)
    use()
