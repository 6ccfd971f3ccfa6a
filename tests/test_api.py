"""The Python API: train, load, evaluate and read, as the command line does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, TRAINED

import slotfill
from slotfill.config.builtin import compose_config, load_config
from slotfill.config.validate import parse_config
from slotfill.config.yaml_reader import parse
from slotfill.errors import ConfigError, DataError, SlotfillError, UsageError
from slotfill.paths import to_path

pytestmark = pytest.mark.filterwarnings("ignore:valid:UserWarning")  # It is small.


@pytest.fixture(scope="module")
def config(corpus):
    """The config of the tiny corpus as a mapping."""
    sections = SMALL | {"train": TRAINED}
    text = "".join(f"{key}: {value}\n" for key, value in sections.items())
    return {**parse(text, "small")[0], "data": {"path": corpus}}


def test_train_returns_the_run_that_it_saves(desk, config, trained):
    epochs = []
    tagger = slotfill.train(config, out="runs/a", on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 7))
    assert epochs[-1].loss < epochs[0].loss and epochs[-1].valid_f1 is not None
    texts = ["leave Oslo for Lima please", "hello there"]
    assert tagger.predict(texts) == slotfill.load("runs/a").predict(texts)
    for name in ("config.yaml", "vocab.json", "model.safetensors"):  # As the command trains it.
        assert Path("runs/a", name).read_bytes() == (trained / name).read_bytes(), name
    assert tagger.predict(texts) == slotfill.load(trained).predict(texts)
    saved = json.loads(Path("runs/a/scores.json").read_text())["splits"]
    assert {split: json.loads(json.dumps(s.to_json())) for split, s in tagger.scores.items()} == (
        saved
    )
    assert slotfill.load("runs/a").scores == tagger.scores


@pytest.mark.parametrize("kind", [str, Path, "mapping", "Config"])
def test_train_takes_a_config_of_every_kind(desk, config, kind):
    given = config if kind == "mapping" else "tiny.yaml"
    given = load_config("tiny.yaml")[1] if kind == "Config" else given
    given = kind(given) if isinstance(kind, type) else given
    tagger = slotfill.train(given, {"train.epochs": 1, "tagger.dropout": 0.2})
    trained_config = tagger.run.config
    assert (trained_config.train.epochs, trained_config.tagger["dropout"]) == (1, 0.2)
    assert tagger.run.files.path == Path("runs", "tiny" if "tiny" in str(given) else "corpus")


def test_train_names_mistakes_by_their_keys(desk, config):
    with pytest.raises(ConfigError) as error:
        slotfill.train({**config, "encoder": {"hiden_size": 3}}, {"train.epochs": "many"})
    lines = str(error.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["encoder.hiden_size", "train.epochs"]
    with pytest.raises(UsageError, match="no config 'tinny'"):
        slotfill.train("tinny")
    with pytest.raises(UsageError, match="no device 'gpu'"):
        slotfill.train("tiny.yaml", device="gpu")  # type: ignore[arg-type]
    assert not Path("runs").exists()


def test_nested_overrides_change_the_keys_of_a_section_or_part(config):
    given = {**config, "train": {"epochs": 7}, "encoder": {"name": "recurrent", "cell": "gru"}}
    overrides = {"train": {"seed": np.int64(2)}, "data": {"strict": True}}
    overrides["encoder"] = {"hidden_size": np.array([3])[0]}
    _, loaded = compose_config(given, overrides | {"train.batch_size": 4})
    assert (loaded.train.epochs, loaded.train.seed, loaded.train.batch_size) == (7, 2, 4)
    assert (loaded.encoder["hidden_size"], loaded.encoder["cell"].name) == (3, "gru")
    words = ["train={seed: 2, batch_size: 4}", "data={strict: true}", "encoder={hidden_size: 3}"]
    assert loaded == parse_config(json.dumps(given, default=str), "x.yaml", words, Path())
    _, loaded = compose_config(given, {"encoder": {"name": "recurrent", "hidden_size": 3}})
    assert loaded.encoder["cell"].name == "lstm"
    with pytest.raises(ConfigError, match=r"^train\.epoch: unknown key; did you mean 'epochs'"):
        compose_config(given, {"train": {"epoch": 2}})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: slotfill.train(overrides=["train.seed=2"]), "overrides are values by their"),
        (lambda run: slotfill.train("taipei", on_epoch=3), "on_epoch is a function"),
        (lambda run: slotfill.train("taipei", out=3), "the path of a file or folder is a text"),
        (lambda run: slotfill.evaluate(run, overrides="data.scheme=x"), "overrides are values by"),
        (lambda run: slotfill.evaluate(run, 3), "the path of a file or folder is a text"),
        (lambda run: slotfill.evaluate(run, ["a"]), "sentences to evaluate on are those of"),
        (lambda run: slotfill.evaluate(run, [], overrides={"data.scheme": "x"}), "overrides say"),
        (lambda run: slotfill.read(None), "the path of a file or folder is a text"),
        (lambda run: slotfill.read(["a.jsonl"]), "the path of a file or folder is a text"),
        (lambda run: slotfill.read("a", 3), "a format is its name, or a mapping with it, not 3"),
        (lambda run: slotfill.read("a", scheme=["a"]), "unknown tag scheme"),
        (lambda run: slotfill.read("tiny.yaml", split=5), "split is the name of a split, such as"),
        (lambda run: slotfill.evaluate(run, split=5), "split is the name of a split, such as"),
        (lambda run: slotfill.read(""), "the path of a file or folder is a text"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(desk, trained, call, message):
    with pytest.raises(UsageError, match=f"^{message}[^\n]*$"):
        call(trained)
    assert not Path("runs").exists()


LONG = "x" * 5000
"""No file can have this name."""
PATHS = {
    "a\0b": "a\\u0000b: a path cannot contain the character U+0000",
    "\ud800": "\\ud800: a path cannot contain the character U+D800",
    LONG: f"{LONG[:39]}…: the name of a file has at most NNN bytes, found 5,000",
}


@pytest.mark.parametrize(("path", "message"), PATHS.items(), ids=ascii)
@pytest.mark.parametrize(
    ("call", "most"),
    [
        (slotfill.read, 255),
        (slotfill.load, 255),
        (slotfill.Batches, 255),
        (lambda path: slotfill.train("tiny.yaml", from_run=path), 255),
        (lambda path: slotfill.train("tiny.yaml", out=path), 255 - len(".partial.lock")),
    ],
    ids=["read", "load", "Batches", "from_run", "out"],
)
def test_a_path_that_no_file_can_have_is_refused(desk, path, message, call, most):
    with pytest.raises(UsageError) as error:
        call(path)
    assert str(error.value) == message.replace("NNN", str(most))


def test_folders_need_no_room_and_names_need_not_be_utf8(tmp_path):
    """A file whose name is not UTF-8 is read by Python as by others."""
    folder = "x" * 255
    assert to_path(f"{folder}/{'y' * 242}/", room=13) == Path(folder, "y" * 242)
    path = tmp_path / os.fsdecode(b"\xff.brackets")
    path.write_text("to [Oslo](city)\n")
    assert [sentence.text for sentence in slotfill.read(path)] == ["to Oslo"]


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_such_a_path_of_a_config_or_of_data_is_refused(desk, trained, path):
    calls = [
        lambda: slotfill.train(path),
        lambda: slotfill.train("tiny.yaml", {"data.path": path}),
        lambda: slotfill.evaluate(trained, path),
        lambda: slotfill.read("tiny.yaml", f"{path}.py"),
    ]
    for call in calls:
        with pytest.raises(SlotfillError) as error:
            call()
        assert str(error.value).isprintable() and len(str(error.value)) < 200


def cyclic(depth):
    """A mapping that contains itself, or one of `depth` mappings in each other."""
    mapping = inner = {}
    for _ in range(depth or 2):
        inner["a"] = {}
        inner = inner["a"]
    inner["a"] = mapping if not depth else 1
    return mapping


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({5: 5}, "a key is a text, such as 'train', not 5"),
        ({"data": {(1, 2): 3}}, "data: a key is a text, such as 'train', not (1, 2)"),
        ({"": 1}, "a key is empty"),
        (
            {"train.epochs": 1},
            "train.epochs: a key of a config has no dots; write {'train': {'epochs': ...}}, or give"
            " it as an override",
        ),
        (cyclic(0), "a.a.a: a value cannot contain itself"),
        (cyclic(500), "a: nested too deep"),
        ({"data": {"path": float("nan")}}, "data.path: must be text, found nan"),
        (
            {"data": {"path": b"x"}},
            "data.path: a value is a text, a number, True, False, None, a list or a mapping, not"
            " b'x'",
        ),
        (
            {"data": {"path": [{1, 2}]}},
            "data.path.0: a value is a text, a number, True, False, None, a list or a mapping, not"
            " {1, 2}",
        ),
        (
            {"train": {"epochs": 10**5000}},
            "train.epochs: an integer of more than 4,300 digits",
        ),
        (
            {"data": {"path": "\N{SLIGHTLY SMILING FACE}\x85"}},
            "data.path: there is no file or folder \N{SLIGHTLY SMILING FACE}\\u0085",
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:40],
)
def test_what_no_config_can_have_is_one_line_with_its_key(desk, config, message):
    with pytest.raises(ConfigError) as error:
        compose_config(config, {})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train": cyclic(0)}, "train.a.a.a: a value cannot contain itself"),
        ({"train.epochs": 10**5000}, "train.epochs: an integer of more than 4,300 digits"),
        ({5: 1}, "the key of an override is a text, as 'train.epochs', not 5"),
        ({"": 1}, "the key of an override is a text, as 'train.epochs', not ''"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:40],
)
def test_so_is_what_no_override_can_have(overrides, message):
    with pytest.raises(SlotfillError) as error:
        compose_config("taipei", overrides)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ({}, "format.name: is needed and not given (allowed: brackets, "),
        ({"name": 5}, "format: must be the name of one format (allowed: brackets, "),
        ({"name": "csv", "nope": 1}, "format.nope: unknown key (allowed: name)"),
    ],
)
def test_read_checks_the_options_of_a_format(corpus, format, message):
    path = corpus / "pairs.brackets"
    assert slotfill.read(path, {"name": "brackets"}) == slotfill.read(path)
    with pytest.raises(ConfigError) as error:
        slotfill.read(path, format)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_messages_are_one_line_of_characters_that_can_be_written():
    error = DataError("a\0b\nc\ud800", "\N{CJK UNIFIED IDEOGRAPH-6642}")
    assert error.messages == ["a\\u0000b\\u000ac\\ud800", "\N{CJK UNIFIED IDEOGRAPH-6642}"]
    assert ConfigError("a\nb", "c\0").messages == ["c\\u0000: a\\u000ab"]


def test_evaluate_takes_sentences(trained, corpus):
    sentences = slotfill.read(corpus / "pairs.brackets")
    expected = slotfill.evaluate(trained, corpus / "pairs.brackets")
    assert slotfill.evaluate(trained, sentences) == expected
    sentences.append(slotfill.load(trained).run.vocab.tokenizer.tokenize("no labels", "a:1"))
    assert slotfill.evaluate(trained, sentences) == expected
    with pytest.raises(DataError, match="none of the sentences has labels"):
        slotfill.evaluate(trained, sentences[-1:])


def test_read_warns_of_slots_that_overlap(tmp_path):
    slots = [("city", 6, 14), ("name", 10, 14), ("verb", 0, 5)]
    rows = [{"name": name, "start": start, "end": end} for name, start, end in slots]
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "leave New York", "slots": rows}))
    where = r"a\.jsonl:1: slot 'name' \('York'\) overlaps 'city' \('New York'\), and is left out"
    with pytest.warns(UserWarning, match=f"overlapping slots left out: 1, at .*{where}") as warned:
        (sentence,) = slotfill.read(tmp_path / "a.jsonl")
    assert [slot.name for slot in sentence.slots] == ["verb", "city"]
    assert warned[0].filename == __file__


def test_train_replaces_no_run(desk, config):
    slotfill.train(config, {"train.epochs": 1}, out="run")
    with pytest.raises(UsageError, match="run exists"):
        slotfill.train(config, {"train.epochs": 1}, out="run")
    assert slotfill.train(config, {"train.epochs": 2}, out="run", force=True).scores


def test_train_is_not_for_torchrun(desk, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(UsageError, match=r"torchrun \.\.\. -m slotfill train"):
        slotfill.train("tiny.yaml")


def test_likely_problems_are_warnings(desk):
    with pytest.warns(UserWarning, match="valid: 20 slots are too few") as warned:
        slotfill.train("tiny.yaml", {"train.epochs": 1})
    assert warned[0].filename == __file__


def test_train_warns_of_slots_that_overlap(desk, tmp_path):
    slots = [["city", 6, 14], ["name", 10, 14]]
    rows = [{"name": name, "start": start, "end": end} for name, start, end in slots]
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "leave New York", "slots": rows}))
    overrides = {"train.epochs": 1, "data": {"path": None, "train": tmp_path / "a.jsonl"}}
    with pytest.warns(UserWarning, match="train: overlapping slots left out: 1, at ") as warned:
        slotfill.train("tiny.yaml", overrides | {"data.holdout": 0})
    assert len(warned) == 1


def test_evaluate_is_that_of_the_command(trained, corpus, cli):
    result = json.loads(cli("evaluate", trained, "--split", "pairs", "--json").out)
    for run in (trained, str(trained), slotfill.load(trained)):
        assert json.loads(json.dumps(slotfill.evaluate(run, split="pairs").to_json())) == result
    by_file = slotfill.evaluate(trained, corpus / "pairs.brackets")
    assert by_file == slotfill.evaluate(trained, split="pairs")
    assert slotfill.evaluate(trained) == slotfill.load(trained).scores["test"]
    with pytest.raises(UsageError, match="give one"):
        slotfill.evaluate(trained, corpus, split="test")
    with pytest.raises(ConfigError, match=r"data\.scheme"):
        slotfill.evaluate(trained, overrides={"data.scheme": "bi"})
    with pytest.raises(UsageError, match="no split"):
        slotfill.evaluate(trained, split="tset")


def test_read_gives_what_the_file_has(tmp_path):
    (tmp_path / "few.jsonl").write_text(
        '{"text": "go to New York", "slots": [{"name": "city", "value": "New York"}]}\n'
        '{"text": "hello"}\n'
    )
    labelled, plain = slotfill.read(tmp_path / "few.jsonl")
    assert (labelled.text, labelled.tokens) == ("go to New York", ["go", "to", "New", "York"])
    assert [(slot.name, labelled.value(slot)) for slot in labelled.slots] == [("city", "New York")]
    assert plain.slots is None
    (tmp_path / "few.txt").write_text("a.b B-x\nc O\n")
    (sentence,) = slotfill.read(tmp_path / "few.txt", "conll")
    assert sentence.tokens == ["a.b", "c"]
    with pytest.raises(ConfigError, match="unknown format 'conl'"):
        slotfill.read(tmp_path / "few.txt", "conl")
    with pytest.raises(UsageError, match="no such file"):
        slotfill.read(tmp_path / "gone.txt")
    with pytest.raises(DataError):
        slotfill.read(tmp_path / "few.txt", "jsonl")


def test_training_without_torch_says_what_to_install(desk):
    code = (
        "import sys; sys.modules['torch'] = None\nimport slotfill\n"
        "from slotfill.errors import UsageError\n"
        "tagger = slotfill.SlotTagger()\n"
        "for call in ('slotfill.train(\"tiny.yaml\")', 'tagger.fit([\"Oslo\"], [[]])'):\n"
        "    try: eval(call)\n"
        "    except UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    hint = "needs torch; install it with: pip install 'slotfill[train]'"
    assert done.stdout.splitlines() == [f"slotfill.train {hint}", f"SlotTagger.fit {hint}"]
    assert done.stderr == ""


def test_public_names_are_documented():
    for name in slotfill.__all__:
        assert name == "__version__" or getattr(slotfill, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = slotfill.trian
