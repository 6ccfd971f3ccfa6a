"""Intents in every format, and in training, evaluation, prediction and error messages."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import CITIES, write_config
from safetensors.numpy import load_file

import slotfill
from slotfill.cli.highlight import highlight
from slotfill.data.corpus import read_sentences, write_sentences

SHAPES = (
    ("[](arrive) arrive [{a}](destination)", 5),
    ("[](leave#ask) may I leave [{a}](origin)", 3),
    ("[](leave) leave [{a}](origin) for [{b}](destination) please", 4),
    ("[](greet) hello there", 2),
    ("[](ask) what is [{a}](place)", 2),
)
NAMES = {"brackets": ".brackets", "conll": ".conll", "jsonl": ".jsonl", "jointslu": ""}
TEXTS = ["leave New York for Oslo please", "may I leave Lima", "", "hello there"]


def write_corpus(folder):
    """Write sentences with intents as the splits of `folder`, once in each format."""
    draw = random.Random(0)
    for split, times in {"train": 4, "valid": 2, "test": 2}.items():
        rows = [
            shape.format(**dict(zip("ab", draw.sample(CITIES, 2), strict=True)))
            for shape, count in SHAPES
            for _ in range(count * times)
        ]
        source = folder / f"{split}.brackets"
        source.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        for format, suffix in NAMES.items():
            (folder / format).mkdir(exist_ok=True)
            write_sentences(
                folder / format / f"{split}{suffix}",
                read_sentences(source).sentences,
                format=format,
            )


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A read-only folder with the corpus in each format, a config and two runs, one `fed`."""
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    folder = tmp_path_factory.mktemp("desk")
    write_corpus(folder)
    config = write_config(
        folder / "tiny.yaml",
        data="{path: brackets}",
        intent="{name: attention, size: 8, dropout: 0.1}",
    )
    for name, overrides in {"run": [], "fed": ["intent.feed=true"]}.items():
        train(
            load_config(str(config), overrides)[1], RunFolder(folder / name), lambda progress: None
        )
    return folder


@pytest.fixture
def room(desk, tmp_path, monkeypatch):
    """The current folder: a copy of the desk."""
    shutil.copytree(desk, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "desk"


def read_intents(predicted):
    return [row.get("intent") for row in map(json.loads, predicted.splitlines())]


def test_training_reports_and_saves_intents(room, cli):
    result = cli("train", "tiny.yaml", "train.epochs=2", "--out", "short")
    assert (result.code, result.err) == (0, "")
    for message in (
        "all intents",
        "gold intents",
        "frame accuracy",
        "intent accuracy",
        "0 intents",
    ):
        assert message in result.out
    vocab = json.loads((room / "run" / "vocab.json").read_text())
    assert vocab["intents"] == {"arrive": 20, "leave": 16, "leave#ask": 12, "ask": 8, "greet": 8}
    rows = list(csv.DictReader((room / "short" / "history.csv").read_text().splitlines()))
    assert f"intents {float(rows[-1]['valid_intents']):.2f}%" in result.out
    rows = list(csv.DictReader((room / "run" / "history.csv").read_text().splitlines()))
    assert float(rows[-1]["valid_intents"]) > 90
    scores = json.loads((room / "run" / "scores.json").read_text())["splits"]["test"]["intent"]
    assert scores["accuracy"] > 90 and scores["frame_accuracy"] > 60
    assert set(scores["intents"]) == {"arrive", "leave", "ask", "greet"}


def test_run_without_intent_head_ignores_intents(room, cli):
    """The sentences have intents."""
    result = cli("train", "tiny.yaml", "intent=null", "train.epochs=2", "--out", "plain")
    assert (result.code, result.err) == (0, "") and "intent" not in result.out
    assert "intents" not in json.loads((room / "plain" / "vocab.json").read_text())
    assert (
        "intent" not in json.loads((room / "plain" / "scores.json").read_text())["splits"]["test"]
    )
    assert "valid_intents" not in (room / "plain" / "history.csv").read_text()
    assert not [
        name for name in load_file(room / "plain" / "model.safetensors") if "intent" in name
    ]
    assert read_intents(cli("predict", "plain", *TEXTS).out) == [None] * 4
    assert slotfill.load("plain").predict(TEXTS)[0].intent is None
    assert b"intents" not in (room / "plain" / "model.onnx").read_bytes()


def test_every_format_trains_the_same_weights(room, cli):
    settings = ["data.tokenizer=whitespace", "train.epochs=1", "intent={name: mean, feed: true}"]
    expected = cli("evaluate", "run", "--json").out
    assert json.loads(expected)["intent"]["overall"]["support"] == 38, "each of several by itself"
    contents = []
    for name in NAMES:
        words = [f"data.path={name}", *settings, "--out", f"of-{name}"]
        assert cli("train", "tiny.yaml", *words).code == 0
        files = [room / f"of-{name}" / file for file in ("vocab.json", "model.safetensors")]
        contents.append([file.read_bytes() for file in files])
        test = room / name / f"test{NAMES[name]}"
        assert cli("evaluate", "run", "--data", test, "--json").out == expected, name
    assert all(content == contents[0] for content in contents)


def test_every_output_format_has_intents(room, cli):
    expected = read_intents(cli("predict", "run", *TEXTS).out)
    assert expected[2] is None and [text for text in expected if text] == [
        "leave",
        "leave#ask",
        "greet",
    ]
    assert cli("predict", "run", *TEXTS, "--format", "brackets").out.splitlines() == [
        "[](leave) leave [New York](origin) for [Oslo](destination) please",
        "[](leave#ask) may I leave [Lima](origin)",
        "",
        "[](greet) hello there",
    ]
    for format in ("jsonl", "conll", "brackets"):
        spoken = [text for text in TEXTS if text]
        Path(f"answers.{format}").write_text(cli("predict", "run", *spoken, "--format", format).out)
        actual = read_sentences(f"answers.{format}", tokenizer="whitespace").sentences
        assert [sentence.intent for sentence in actual] == [intent for intent in expected if intent]
        write_sentences(f"as-{format}", actual, format="jointslu")
        assert Path(f"as-{format}/label").read_text() == "leave\nleave#ask\ngreet\n"
    shown = highlight(actual[1], ["origin"])
    assert shown.plain == "leave#ask: may I leave Lima origin"


@pytest.mark.parametrize("run", ["run", "fed"])
def test_every_engine_and_jobs_predict_the_same(run, room, cli):
    Path("texts").write_text("\n".join(TEXTS * 3))
    expected, scores = (
        cli("predict", run, "--input", "texts").out,
        cli("evaluate", run, "--json").out,
    )
    assert read_intents(expected)[:2] == ["leave", "leave#ask"]
    for words in (("--engine", "torch"), ("--engine", "onnx"), ("--jobs", "2")):
        assert cli("predict", run, "--input", "texts", *words).out == expected
    for engine in ("torch", "onnx"):
        actual = slotfill.load(run, engine=engine).predict(TEXTS)
        assert [prediction.intent for prediction in actual] == ["leave", "leave#ask", None, "greet"]
        assert cli("evaluate", run, "--engine", engine, "--json").out == scores
    # Probabilities change with the weights, labels do not.
    words = ("predict", run, "--input", "texts", "--no-confidence")
    labels = cli(*words).out
    result = cli("export", run, "--quantize", "int8")
    assert (result.code, result.err) == (0, "")
    assert cli(*words, "--engine", "onnx").out == labels


def test_evaluation_reports_intent_scores_and_their_mode(room, cli):
    rows = [
        "[](ask#leave) may I leave [Oslo](origin)",
        "[](leave) hello there",
        "[](fly) arrive [Oslo](destination)",
    ]
    Path("mine.brackets").write_text("\n".join(rows))
    result = cli("evaluate", "run", "--data", "mine.brackets")
    assert (result.code, result.err) == (0, "")
    assert "intent accuracy 33.33%, frame accuracy 33.33%\n" in result.out
    assert result.out.splitlines()[-1].startswith("scoring of intents: exact match of the set")
    assert "not in the training sentences: 0 tokens, 0 slot names, 1 intent (fly)" in result.out
    actual = json.loads(cli("evaluate", "run", "--data", "mine.brackets", "--json").out)["intent"]
    assert f"scoring of intents: {actual['mode']}\n" in result.out
    assert actual["intents"]["ask"] == {"precision": 100, "recall": 100, "f1": 100, "support": 1}
    assert actual["intents"]["leave"] == pytest.approx(
        {"precision": 100, "recall": 50, "f1": 200 / 3, "support": 2}
    )
    assert actual["intents"]["greet"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert cli("evaluate", "run", "--data", "mine.brackets", "--min-f1", "90").code == 0, (
        "of slots alone"
    )
    Path("none.brackets").write_text("hello there\n")
    result = cli("evaluate", "run", "--data", "none.brackets")
    assert result.code == 0 and "intent" not in result.out, "nothing to hold them against"
    Path("some.brackets").write_text("[](ask) what is [Oslo](place)\n\nhello there\n")
    result = cli("evaluate", "run", "--data", "some.brackets")
    assert (result.code, result.out) == (3, "")
    assert (
        result.err
        == "slotfill: some.brackets:3: the sentence has no intent, though others have one; add its"
        " intent\n"
    )


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_sentence_without_intent_is_an_error_with_its_line(split, room, cli):
    path = room / "brackets" / f"{split}.brackets"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*rows[:2], "hello there\n", *rows[2:]]))
    place = path.relative_to(room)
    message = f"slotfill: {place}:3: the sentence has no intent; give it one, or set intent: null\n"
    for words in (
        ("train", "tiny.yaml", "--out", "other"),
        ("compare", "tiny.yaml", "--seeds", "1"),
    ):
        result = cli(*words)
        assert (result.code, result.err) == (3, message) and not (room / "other").exists()
    assert message in cli("check", "tiny.yaml").err
    assert cli("check", "tiny.yaml", "intent=null").code == 0


def test_corpus_without_intents_is_an_error(room, cli):
    (room / "jointslu" / "train" / "label").unlink()
    result = cli("train", "tiny.yaml", "data.path=jointslu", "--out", "other")
    place = Path("jointslu", "train", "seq.in")
    assert (result.code, result.out) == (3, "")
    assert (
        result.err
        == f"slotfill: {place}:1: the sentence has no intent; give it one, or set intent: null\n"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "intent=atention",
            (
                "intent: unknown intent 'atention'; did you mean 'attention'? (allowed: attention,"
                " mean)"
            ),
        ),
        (
            "intent=crf",
            "intent: unknown intent 'crf', which is a tagger (allowed: attention, mean)",
        ),
        (
            "intent={name: null, dropout: 0.1}",
            "intent: must be the name of one intent (allowed: attention, mean), found keys and"
            " values",
        ),
        ("intent.feed=maybe", "intent.feed: must be true or false, found 'maybe'"),
        ("intent.weight=0", "intent.weight: must be more than 0, found 0"),
        (
            "intent=[mean]",
            "intent: must be the name of one intent (allowed: attention, mean), found a list",
        ),
    ],
)
def test_errors_in_the_intent_config_are_one_line(override, message, room, cli):
    result = cli("check", "tiny.yaml", override)
    assert (result.code, result.err) == (2, f"slotfill: command line: {message}\n")


def test_options_alone_are_of_the_head_that_is_there(room, cli):
    assert cli("check", "tiny.yaml", "intent={dropout: 0.2}").code == 0
    refused = cli("check", "tiny.yaml", "intent=null", "intent={dropout: 0.2}")
    message = "intent.name: is needed and not given (allowed: attention, mean)"
    assert (refused.code, refused.err) == (2, f"slotfill: command line: {message}\n")


def test_resumed_training_gives_identical_weights(room, monkeypatch):
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    _, config = load_config("tiny.yaml")

    def stop(progress):
        if len(progress.history) == 2 and progress.done == 1:
            raise KeyboardInterrupt

    train(config, RunFolder(Path("stopped")), stop)
    folder = RunFolder(Path("stopped"), resume=True)
    train(folder.config, folder, lambda progress: None)
    assert (
        Path("stopped/model.safetensors").read_bytes() == Path("run/model.safetensors").read_bytes()
    )


def test_inspect_shows_the_intent_head(room, cli):
    result = cli("inspect", "run", "may I leave Lima", "--json")
    actual = json.loads(result.out)
    assert (result.code, actual["intent"]) == (0, "leave#ask")
    (panel,) = [panel for panel in actual["panels"] if panel["part"].startswith("intent")]
    assert (panel["part"], panel["name"], panel["columns"]) == ("intent (attention)", "weights", [])
    assert np.shape(panel["values"]) == (4, 1) and np.sum(panel["values"]) == pytest.approx(
        1, abs=1e-4
    )
    shown = cli("inspect", "run", "may I leave Lima", "--html", "page.html", "--gate", "weights")
    assert shown.out == "page.html: 1 figure\n" and "leave#ask" in Path("page.html").read_text()
    lines = cli("inspect", "run", "may I leave Lima", "--gate", "weights").out
    assert lines.startswith("[](leave#ask) may I leave [Lima](origin)\n")
    assert "weights, from the complete sentence to each token" in lines


def test_compare_reports_intent_scores(room, cli):
    Path("slots.yaml").write_text(Path("tiny.yaml").read_text().replace("intent:", "#"))
    result = cli(
        "compare",
        "slots.yaml",
        "tiny.yaml",
        "train.epochs=1",
        "--seeds",
        "1,2",
        "--json",
        "all.json",
    )
    assert result.code == 0
    slots, tiny = json.loads(Path("all.json").read_text())["configs"]
    assert slots["corpora"]["brackets"]["splits"]["test"]["intent"] == {}
    actual = tiny["corpora"]["brackets"]["splits"]["test"]["intent"]
    accuracies = [
        json.loads(Path(f"runs/compare/brackets/tiny-seed{seed}/scores.json").read_text())[
            "splits"
        ]["test"]["intent"]
        for seed in (1, 2)
    ]
    assert actual["accuracy"]["mean"] == pytest.approx(
        np.mean([prediction["accuracy"] for prediction in accuracies])
    )
    shown = result.out.partition("Sentences with correct intents, and correct frames")[2]
    for rate in actual.values():
        assert f"{rate['mean']:.2f} ± {rate['deviation']:.2f}" in shown
    result = cli("compare", "slots.yaml", "train.epochs=1", "--seeds", "1,2")
    assert result.code == 0 and "intents" not in result.out, (
        "nothing to show where none are learned"
    )


def test_list_shows_intent_heads(cli):
    shown = cli("list", "intents").out
    assert all(name in shown for name in ("attention", "mean", "Liu & Lane"))
