"""`train --from`: a run learns new sentences and slots, and keeps what it knew."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

import slotfill
from slotfill.config.builtin import load_config
from slotfill.data.splits import read_split
from slotfill.errors import ConfigError, RunError
from slotfill.runs.continuation import read_base_config
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import load_run
from slotfill.runs.train import train

NEW = """\
a [window](seat) seat to [Oslo](destination) please
an [aisle](seat) seat from [Lima](origin) to [Paris](destination)
a [window](seat) or an [aisle](seat) seat
fly from [Tokyo](origin) in a [window](seat) seat
"""


@pytest.fixture
def run(desk, trained):
    """The run to continue, and new sentences in `new.brackets`."""
    (desk / "new.brackets").write_text(NEW)
    return shutil.copytree(trained, desk / "run")


def test_a_new_slot_is_learned_and_the_old_ones_are_kept(run, cli):
    new = ("data.train=new.brackets", "train.epochs=16")
    result = cli("train", "--from", "run", *new, "--out", "more")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("F1 before") == 1
    assert "continued run with 4 new sentences and 40 of its own, 100% of them" in result.out
    before, after = map(float, re.search(r"old slots: F1 (\S+) -> (\S+)", result.out).groups())
    assert before > 90 and after > 90
    assert "new slots (seat): no sentence of test has them, so they have no score" in result.out
    tagger = slotfill.load("more")
    slots = tagger.predict(["an aisle seat to Lima please"])[0].slots
    assert [(slot.name, slot.value) for slot in slots] == [
        ("seat", "aisle"),
        ("destination", "Lima"),
    ]
    own = load_config("run/config.yaml")[1]
    config = load_config("more/config.yaml")[1]
    assert config.data.earlier == own.data
    assert config.encoder == own.encoder and config.train.from_run == str(run)
    assert "test: 8 sentences" in cli("evaluate", "more").out
    assert "Trained on `new and corpus`" in cli("card", "more").out
    # Its config says what it continues, so that it can be trained again.
    assert cli("train", "more/config.yaml", "--out", "again").code == 0
    weights = [Path(name, "model.safetensors").read_bytes() for name in ("more", "again")]
    assert weights[0] == weights[1]


def test_a_continued_run_is_continued(run, cli):
    new = ("data.train=new.brackets", "train.epochs=2")
    assert cli("train", "--from", "run", *new, "--out", "a").code == 0
    Path("third.brackets").write_text("[two](count) seats to [Oslo](destination)\n" * 2)
    tagger = slotfill.train(
        {"data": {"train": "third.brackets", "earlier_share": 0.5}, "ensemble_size": 1},
        {"train": {"epochs": 2}},
        from_run="a",
        out="b",
    )
    assert tagger.run.vocab.slot_names == ["count", "destination", "origin", "seat"]
    data = load_config("b/config.yaml")[1].data
    assert data.earlier.earlier == load_config("run/config.yaml")[1].data
    result = read_split(data, "train")
    assert len(result.sentences) == 2 + 22 and result.earlier == (22, 44)
    assert len(read_split(data, "valid").sentences) == 16


def test_new_sentences_may_have_splits_of_their_own(run, cli):
    for split, rows in {"train": NEW, "valid": NEW, "test": NEW}.items():
        Path("more").mkdir(exist_ok=True)
        Path(f"more/{split}.brackets").write_text(rows)
    result = cli("train", "--from", "run", "data.path=more", "train.epochs=3", "--out", "b")
    assert "test: 12 sentences" in result.out
    assert re.search(r"new slots \(seat\): F1 \d+\.\d\d", result.out)
    assert re.search(r"│ seat +│.*│ +- │", result.out), "it had no score before"
    data = load_config("b/config.yaml")[1].data
    assert {split: len(read_split(data, split).sentences) for split in ("valid", "test")} == {
        "valid": 20,
        "test": 12,
    }


def test_what_would_change_the_network_is_refused_with_its_place(run, cli):
    Path("more.yaml").write_text("data: {train: new.brackets}\nencoder:\n  hidden_size: 16\n")
    for changes, message in {
        ("more.yaml",): "more.yaml:3: encoder.hidden_size: cannot change where training continues"
        " run; leave it out, or set it to 8",
        ("data.train=new.brackets", "tagger=softmax"): "command line: tagger: cannot change where"
        " training continues run; leave it out",
        ("data.train=new.brackets", "data.tokenizer=characters"): "command line: data.tokenizer:"
        " cannot change where training continues run; leave it out, or set it to words",
        ("data.train=new.brackets", "intent=mean"): "command line: intent: cannot change where"
        " training continues run; leave it out, or set it to null",
        ("data.train=new.brackets", "data.earlier.pth=3"): "command line: data.earlier.pth: unknown"
        " key; did you mean 'path'?",
        (): "command line: data: no training sentences",
    }.items():
        result = cli("train", "--from", "run", *changes, "--out", "b")
        assert (result.code, result.out) == (2, "")
        assert message in result.err and result.err.count("\n") == 1
    assert not Path("b").exists()
    result = cli(
        "train",
        "--from",
        "run",
        "data.train=new.brackets",
        "encoder.hidden_size=8",
        "train.epochs=1",
        "--out",
        "b",
    )
    assert result.code == 0, "the same value is no change"


def test_what_training_refuses_before_its_first_epoch_is_refused_by_check(run, cli):
    Path("unknown.jsonl").write_text('{"text": "up", "slots": [{"slot": "x", "value": "up"}]}\n')
    Path("text.txt").write_text("up\n")
    for changes in (
        "train.from_run=corpus",
        "train.from_run=run tagger=softmax",
        "train.from_run=run distil.teachers=[run]",
        "train.text=text.txt distil.teachers=[run]",
        "distil.teachers=[corpus]",
        "distil.teachers=[unknown.jsonl]",
        "distil.teachers=[run]",  # It does not know a slot.
    ):
        words = ["data.train=new.brackets", "data.holdout=0", *changes.split()]
        refused = cli("train", *words)
        assert refused.code != 0 and refused.err.count("\n") == 1
        checked = cli("check", *words)
        assert (checked.code, checked.err) == (refused.code, refused.err)


def test_wrong_runs_are_named(run, cli):
    new = "data.train=new.brackets"
    assert cli("pack", "run", "--out", "run.zip").code == 0
    for arguments, message in {
        ("--from", "rum"): "no run folder rum; did you mean 'run'?",
        ("--from", "run.zip"): "run.zip: a packed run has no weights to start from",
        ("--from", "corpus"): "corpus: not a complete run of this version of slotfill",
        ("--from", "run", "--out", "run", "--force"): "run is the run that training continues",
        ("train.from_run=run", "tagger=softmax"): "tagger: cannot change where training continues",
        ("--from", "run", "--resume", "run"): "--resume continues a run as it is",
    }.items():
        result = cli("train", *arguments, *([] if "--resume" in arguments else [new]))
        assert result.code in (1, 2) and message in result.err, result.err
    damaged = shutil.copytree(run, "damaged")
    weights = Path(damaged, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    result = cli("train", "--from", "damaged", new, "--out", "b")
    assert (result.code, result.out) == (1, "")
    assert "damaged/model.safetensors: damaged, edited or of another run" in result.err


def test_sentences_that_are_gone_are_a_warning(desk, trained, cli):
    Path("new.brackets").write_text(NEW)
    copy = shutil.copytree(trained, "copy")
    text = (
        Path(copy, "config.yaml")
        .read_text()
        .replace(
            yaml.safe_load(Path(copy, "config.yaml").read_text())["data"]["path"],
            str(desk / "gone"),
        )
    )
    from slotfill.runs.manifest import RunFiles

    RunFiles(Path("copy")).replace({"config.yaml": text.encode()})
    result = cli(
        "train", "--from", "copy", "data.train=new.brackets", "train.epochs=1", "--out", "b"
    )
    assert result.code == 0
    assert result.out.startswith(
        "warning: copy was trained with gone, which is gone; without those sentences its slots may"
        " be unlearned\n"
    )
    assert "continued copy with 4 new sentences and none of its own" in result.out
    with pytest.warns(UserWarning, match="copy was trained with gone"):
        slotfill.train(
            None, {"data.path": "new.brackets", "train.epochs": 1}, from_run="copy", out="c"
        )


def test_text_is_not_inherited_and_may_be_given(run):
    Path("text.txt").write_text("fly to Rome\n" * 3)
    config = load_run(run).config
    config.train.text = str(Path("text.txt").resolve())
    changes = ["data.train=new.brackets", "train.from_run=run"]
    assert load_config(None, changes, base=config)[1].train.text is None
    changes += ["train.text=text.txt", "train.language_model_weight=0.1", "train.epochs=1"]
    result = train(load_config(None, changes, base=config)[1], RunFolder(Path("read")))
    assert "Rome" in load_run(result.path).vocab.tokens


def test_the_last_epoch_is_kept_unless_patience_is_set(run):
    base, lost = read_base_config(Path("run"))
    assert not lost
    Path("valid.brackets").write_text(NEW * 30)
    changes = ["data.train=new.brackets", "data.valid=valid.brackets", "train.from_run=run"]
    changes += ["train.epochs=3", "train.learning_rate=1e-9"]
    for patience, kept in {"null": 3, "5": 1}.items():
        _, config = load_config(None, [*changes, f"train.patience={patience}"], base=base)
        result = train(config, RunFolder(Path(f"patience-{patience}")))
        assert result.best.epoch == kept


def test_a_stopped_continuation_is_resumed_exactly(run, cli):
    arguments = ("train", "--from", "run", "data.train=new.brackets", "train.epochs=4")
    assert cli(*arguments, "--out", "whole").code == 0
    base, _ = read_base_config(Path("run"))
    changes = ["data.train=new.brackets", "train.epochs=4", "train.from_run=run"]
    _, config = load_config(None, changes, base=base)

    def stop(epoch):
        if epoch.epoch == 2:
            raise RuntimeError("out of memory")

    with pytest.raises(RunError):
        train(config, RunFolder(Path("parts")), on_epoch=stop)
    moved = Path("run").rename("moved")
    result = cli("train", "--resume", "parts")
    assert result.code == 2
    message = "train.from_run: the run whose training continues: no run folder run (allowed: "
    assert message in result.err and "parts.partial/config.yaml:" in result.err
    moved.rename("run")
    assert cli("train", "--resume", "parts").code == 0
    weights = [Path(name, "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    vocab = load_run(Path("parts")).vocab
    assert vocab.to_json() == load_run(Path("whole")).vocab.to_json()


def test_intents_and_members_grow(desk, cli):
    rows = [
        '{"text": "play rock", "slots": {"genre": "rock"}, "intent": "play"}',
        '{"text": "lights on", "slots": {}, "intent": "light"}',
    ]
    new = '{"text": "wake me at noon", "slots": {"time": "noon"}, "intent": "alarm"}'
    Path("old.jsonl").write_text("\n".join(rows * 5))
    Path("new.jsonl").write_text(f"{new}\n" * 4)
    small = ["embedding={name: word, size: 8}", "encoder.hidden_size=8", "intent=mean"]
    small += ["ensemble_size=2", "train.learning_rate=0.05", "train.epochs=9", "data.holdout=0"]
    assert cli("train", "data.path=old.jsonl", *small, "--out", "a").code == 0
    result = cli("train", "data.path=new.jsonl", "train.from_run=a", "train.epochs=9", "--out", "b")
    assert "epoch 9/9" in result.out
    tagger = slotfill.load("b")
    found = {}
    for prediction in tagger.predict(["wake me at noon", "lights on", "play rock"]):
        found[prediction.intent] = [slot.name for slot in prediction.slots]
    assert found == {"alarm": ["time"], "light": [], "play": ["genre"]}


def test_python_refuses_what_the_command_refuses(run):
    with pytest.raises(ConfigError, match="ensemble_size: cannot change"):
        slotfill.train(None, {"data.train": "new.brackets", "ensemble_size": 3}, from_run="run")
