"""The command generate, and what others do with a run of a generator."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import slotfill
from slotfill.errors import ConfigError, UsageError
from slotfill.runs.generate import read_labelled
from slotfill.runs.load import load_generator


@pytest.fixture(scope="session")
def generator(corpus: Path) -> Path:
    """A run of a generator trained on the tiny corpus; nothing may be written into it."""
    from slotfill.config.builtin import compose_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    data = {"data": {"path": str(corpus)}, "generator": {"embedding_size": 16, "hidden_size": 16}}
    settings = {"epochs": 12, "batch_size": 4, "learning_rate": 0.03, "ema_decay": 0.5}
    _, config = compose_config(data | {"train": settings}, {})
    return train(config, RunFolder(corpus.parent / "generator")).path


def test_generated_sentences_are_new_and_labelled(generator, corpus, cli, tmp_path):
    done = cli("generate", generator, "--sentences", 20, "--out", tmp_path / "new.brackets")
    assert done.code == 0, done.err
    sentences = slotfill.read(tmp_path / "new.brackets")
    tokens = [tuple(sentence.tokens) for sentence in sentences]
    training = slotfill.read(corpus / "train.brackets")
    assert len(set(tokens)) == len(tokens) == 20
    assert not {*tokens} & {tuple(sentence.tokens) for sentence in training}
    assert {slot.name for s in sentences for slot in s.slots} == {"origin", "destination"}
    assert done.out.startswith(f"{tmp_path / 'new.brackets'}: 20 sentences of ")
    assert " malformed, " in done.out and "%) copied from train or valid, " in done.out


def test_the_seed_determines_the_sentences_and_fewer_are_the_first(generator, cli):
    first, again, other = (
        cli("generate", generator, "--sentences", 8, "--seed", seed) for seed in (1, 1, 2)
    )
    assert first.out == again.out != other.out
    assert len(first.out.splitlines()) == 8
    assert "standard output: 8 sentences of " in first.err
    fewer = cli("generate", generator, "--sentences", 3)
    assert fewer.out == "".join(first.out.splitlines(keepends=True)[:3])


@pytest.mark.parametrize("name", ["new.jsonl", "new.conll", "new.csv", "new.parquet"])
def test_a_suffix_selects_the_format(generator, cli, tmp_path, name):
    pytest.importorskip("pyarrow") if name.endswith(".parquet") else None
    cli("generate", generator, "--sentences", 5, "--out", tmp_path / "new.brackets")
    done = cli("generate", generator, "--sentences", 5, "--out", tmp_path / name)
    assert done.code == 0, done.err
    expected = slotfill.read(tmp_path / "new.brackets")
    assert [(s.tokens, s.slots) for s in slotfill.read(tmp_path / name)] == [
        (s.tokens, s.slots) for s in expected
    ]


def test_format_of_standard_output(generator, cli):
    rows = cli("generate", generator, "--sentences", 2, "--format", "jsonl").out.splitlines()
    assert all({"text", "slots"} & json.loads(row).keys() for row in rows)
    done = cli("generate", generator, "--sentences", 2, "--format", "jsnl")
    assert done.code == 2 and "unknown format 'jsnl'; did you mean 'jsonl'?" in done.err


def test_fewer_sentences_than_asked_for_is_said(generator, cli, monkeypatch):
    monkeypatch.setattr("slotfill.runs.generate.SAMPLES", 1)
    done = cli("generate", generator, "--sentences", 50)
    assert done.code == 0
    count = len(done.out.splitlines())
    assert 0 < count < 50
    assert f"slotfill: {count} of 50 sentences are written, since few samples are new" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "RUN", "--out", "there.jsonl", "--sentences", 1], "there.jsonl: exists"),
        (["generate", "RUN"], "Missing option '--sentences'"),
        (["generate", "RUN", "--sentences", 0], "0 is not in the range"),
        (["generate", "TAGGER", "--sentences", 1], "TAGGER is a tagger, not a generator; train"),
        (["generate", "nowhere", "--sentences", 1], "no run folder nowhere"),
        (["predict", "RUN", "hello"], "RUN is a generator of labelled sentences, not a tagger"),
        (["predict", "RUN", "hello"], "slotfill generate RUN --sentences 100"),
        (["export", "RUN"], "RUN is a generator"),
        (["pack", "RUN"], "RUN is a generator"),
        (["card", "RUN"], "RUN is a generator"),
        (["values", "RUN", "tiny.yaml", "rules=[]"], "RUN is a generator"),
        (["inspect", "RUN", "hello"], "RUN is a generator"),
        (["threshold", "RUN", "--precision", "0.9"], "RUN is a generator"),
        (["diff", "RUN", "TAGGER"], "RUN is a generator"),
        (["distil", "RUN"], "RUN is a generator of labelled sentences, not a tagger"),
        (["distil", "TAGGER", "RUN", "--config", "tiny.yaml"], "RUN is a generator"),
        (["serve", "RUN"], "RUN is a generator"),
        (["compare", "--system", "g=RUN", "--system", "t=TAGGER"], "RUN is a generator"),
        (["evaluate", "RUN", "--min-f1", 50], "--min-f1 applies to taggers; RUN is a generator"),
        (["evaluate", "RUN", "--report", "r.html"], "--report applies to taggers"),
        (["train", "new.yaml", "--from", "TAGGER"], "new.yaml:2: generator: does not continue"),
        (
            ["train", "--from", "TAGGER", "data.path=corpus", "generator=recurrent"],
            "command line: generator: does not",
        ),
        (
            ["train", "tiny.yaml", "--from", "RUN", "--out", "b"],
            "give the run folder of a tagger, or",
        ),
        (["compare", "new.yaml", "tiny.yaml"], "new.yaml:2: generator: only the commands train,"),
        (["tune", "new.yaml", "tune={train.epochs: [1, 2]}"], "new.yaml:2: generator: only"),
    ],
)
def test_wrong_uses_are_one_line(generator, trained, desk, cli, arguments, message):
    Path("RUN").symlink_to(generator)
    Path("TAGGER").symlink_to(trained)
    Path("there.jsonl").touch()
    Path("new.yaml").write_text("data: {path: corpus}\ngenerator: recurrent\n")
    done = cli(*arguments)
    assert done.code == 2
    assert message in done.err and done.err.count("\n") == 1
    assert not done.out


def test_python_refuses_a_generator_where_it_needs_a_tagger(generator, desk):
    message = r"generator: only the commands train, evaluate and generate take one"
    with pytest.raises(ConfigError, match=message):
        slotfill.train({"data": {"path": "corpus"}, "generator": "vrnn"})
    assert not Path("runs").exists()
    with pytest.raises(UsageError, match="is a generator of labelled sentences, not a tagger"):
        slotfill.load(generator)


def test_perplexity_is_reported_and_in_history(generator, cli, desk):
    done = cli("evaluate", generator)
    assert done.code == 0, done.err
    assert done.out.startswith("test: 8 sentences, ")
    assert ": perplexity " in done.out and "log-likelihood -" in done.out
    scores = json.loads(cli("evaluate", generator, "--split", "valid", "--json").out)
    with (generator / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    best = json.loads((generator / "scores.json").read_text(encoding="utf-8"))
    assert best["splits"]["valid"] == pytest.approx(scores)
    row = rows[best["best_epoch"] - 1]
    assert float(row["valid_perplexity"]) == pytest.approx(scores["perplexity"])
    assert float(row["valid_elbo"]) == pytest.approx(scores["elbo"])
    assert float(row["valid_elbo"]) == max(float(each["valid_elbo"]) for each in rows)


def test_training_prints_perplexity_and_what_comes_next(desk, cli):
    Path("new.yaml").write_text(
        "data: {path: corpus}\ngenerator: {name: storn, hidden_size: 8, embedding_size: 8}\n"
        "train: {epochs: 2}\n"
    )
    done = cli("train", "new.yaml", "--out", "runs/new")
    assert done.code == 0, done.err
    assert ", valid perplexity " in done.out and "of which the KL takes " in done.out
    assert done.out.endswith(
        "  slotfill evaluate runs/new\n  slotfill generate runs/new --sentences 100\n"
    )
    assert cli("evaluate", "runs/new").code == 0


def test_a_generator_without_held_out_sentences(desk, cli):
    settings = ["data.train=corpus/train.brackets", "data.holdout=0", "train.epochs=1"]
    done = cli("train", *settings, "generator.hidden_size=8", "--out", "run")
    assert "no valid and no test sentences, so the run has no scores" in done.out
    assert done.out.endswith("\n  slotfill generate run --sentences 100\n")


def test_sentences_held_out_are_left_out_unless_all_are_gone(desk, cli):
    lines = [f"to [Oslo](city) by train {number}\n" for number in range(10)]
    Path("mine.brackets").write_text("".join(lines), encoding="utf-8")
    settings = ["data.train=mine.brackets", "generator=recurrent", "train.epochs=1"]
    assert cli("train", *settings, "generator.hidden_size=8", "--out", "run").code == 0
    labelled = read_labelled(load_generator(Path("run")))
    assert {sentence.text for sentence in labelled} == {
        sentence.text for sentence in slotfill.read("mine.brackets")
    }
    Path("mine.brackets").unlink()
    done = cli("generate", "run", "--sentences", 2)
    assert done.code == 0
    assert "slotfill: the training sentences are gone" in done.err


def test_intents_are_generated_where_training_has_them(desk, cli):
    rows = "[](greet) hello\n[](fly) to [Oslo](city)\n[](fly) from [Lima](city)\n[](greet) hi\n"
    Path("mine.brackets").write_text(rows * 8, encoding="utf-8")
    settings = ["data.train=mine.brackets", "generator.hidden_size=16", "train.epochs=12"]
    settings += ["train.learning_rate=0.02"]
    assert cli("train", *settings, "--out", "run").code == 0
    done = cli("generate", "run", "--sentences", 3, "--out", "new.jsonl")
    assert done.code == 0, done.err
    assert {s.intent for s in slotfill.read("new.jsonl")} <= {"greet", "fly"}


def test_a_config_with_a_generator_has_no_keys_of_taggers(desk, cli):
    Path("new.yaml").write_text(
        "data: {path: corpus}\ngenerator: vrnn\nencoder: recurrent\nrules: []\n"
        "train: {focal_gamma: 2}\n"
    )
    message = "does not apply to a generator; remove this key or generator"
    assert cli("show", "new.yaml").err.splitlines() == [
        f"slotfill: new.yaml:3: encoder: {message}",
        f"slotfill: new.yaml:4: rules: {message}",
        f"slotfill: new.yaml:5: train.focal_gamma: {message}",
    ]
    Path("new.yaml").write_text("data: {path: corpus}\ngenerator: {cell: gru}\n")
    shown = cli("show", "new.yaml").out
    assert "generator:\n  name: recurrent\n" in shown and "tagger" not in shown
    Path("again.yaml").write_text(shown)
    assert cli("show", "again.yaml").out == shown
    assert "too few to select an epoch" not in cli("check", "again.yaml").out
