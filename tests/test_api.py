"""The Python API: train, load, evaluate and read, as the command line does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL

import slotfill
from slotfill.config.builtin import load_config
from slotfill.config.yaml_reader import parse
from slotfill.errors import ConfigError, DataError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:valid:UserWarning")  # It is small.


@pytest.fixture(scope="module")
def config(corpus):
    """The config of the tiny corpus as a mapping."""
    text = "".join(f"{key}: {value}\n" for key, value in SMALL.items())
    return {**parse(text, "small")[0], "data": {"path": corpus}}


def test_train_returns_the_run_that_it_saves(desk, config, trained):
    epochs = []
    tagger = slotfill.train(config, out="runs/a", on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 7))
    assert epochs[-1].loss < epochs[0].loss and epochs[-1].valid_f1 is not None
    texts = ["leave Oslo for Lima please", "hello there"]
    assert tagger.predict(texts) == slotfill.load("runs/a").predict(texts)
    assert tagger.predict(texts) == slotfill.load(trained).predict(texts), "as the command"
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
