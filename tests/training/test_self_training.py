"""Unlabelled sentences: the language model reads them, and self-training labels them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import SENTENCES, SMALL, history, run, same, weights

from slotfill.config.validate import parse_config
from slotfill.data.sentence import Confidence, Sentence
from slotfill.data.splits import read_text
from slotfill.data.tokenizers import Tokenizer
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, DataError
from slotfill.evaluation.evaluate import validation_metrics
from slotfill.model.build import build_model
from slotfill.training.batches import TrainingBatches
from slotfill.training.trainer import Trainer

SHORT = ["train.epochs=1", "encoder.hidden_size=4"]
TEXT = [
    Sentence.from_tokens(text.split())
    for text in ("leave Oslo", "arrive in New Oslo on day 2", "leave Rome on day 1", "hello")
]


def make_trainer(*overrides):
    config = parse_config("", "x", [*SMALL, "train.epochs=2", *overrides])
    torch.manual_seed(config.train.seed)
    vocab = Vocab.from_sentences(SENTENCES, config.scheme, text=TEXT)
    model = build_model(config, vocab, learning=True)
    return Trainer(model, config.train, vocab, SENTENCES, (), validation_metrics, text=TEXT)


def test_each_round_adds_the_text_with_its_confidences():
    trainer = run(make_trainer("train.self_training=2"))
    assert [(row.epoch, row.round) for row in trainer.history] == [
        (1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2),
    ]  # fmt: skip
    assert [each.tokens for each in trainer.predicted] == [each.tokens for each in TEXT]
    assert trainer.batches.count == len(SENTENCES) + len(TEXT)
    confidences = [each.confidence.reading for each in trainer.predicted]
    assert all(0 < confidence < 1 for confidence in confidences)
    np.testing.assert_allclose(trainer.batches.weights, [*[1] * 20, *confidences])
    rates = [row.learning_rate for row in trainer.history]
    assert rates[0] > rates[1] < rates[2] > rates[3], "the schedule begins again"
    assert trainer.best.epoch == 6


def test_resuming_in_any_round_changes_nothing():
    uninterrupted = run(make_trainer())
    for epochs in (1, 2, 3):
        state = run(make_trainer(), epochs=epochs).state_dict()
        resumed = make_trainer()
        resumed.load_state_dict(*state)
        assert resumed.round == (epochs > 2) and len(resumed.predicted) == 4 * (epochs > 2)
        run(resumed)
        assert history(resumed) == history(uninterrupted)
        assert same(weights(resumed.model), weights(uninterrupted.model))


@pytest.mark.parametrize("slot", [["x", 0, 1], ["from", 0, 99], ["from", 1, 1], ["from", -1, 1]])
def test_predicted_labels_of_a_checkpoint_that_no_model_predicts_are_refused(slot):
    tensors, metadata = run(make_trainer(), epochs=3).state_dict()
    predicted = json.loads(metadata["predicted"])
    for labels in ([[slot], None], [[], "flight"]):
        predicted[0][:2] = labels
        with pytest.raises(ValueError, match=r"^predicted: "):
            make_trainer().load_state_dict(tensors, metadata | {"predicted": json.dumps(predicted)})


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_two_processes_share_the_predicted_sentences():
    trainer = run(make_trainer("train.processes=2"))
    assert [row.round for row in trainer.history] == [0, 0, 1, 1]


def test_the_language_model_reads_the_text():
    def vector_of_oslo(weight):
        trainer = make_trainer(f"train.language_model_weight={weight}", "train.self_training=0")
        (word,) = trainer.model.embeddings[0].indexer.index([["Oslo"]])
        before = weights(trainer.model)["embeddings.0.vectors.weight"][word.item()]
        run(trainer)
        assert {row.round for row in trainer.history} == {0}
        return before, weights(trainer.model)["embeddings.0.vectors.weight"][word.item()]

    assert not torch.equal(*vector_of_oslo(0.1))
    assert torch.equal(*vector_of_oslo(0))


def test_a_batch_of_text_follows_each_labelled_one():
    config = make_trainer().config.model_copy(update={"language_model_weight": 0.1})
    vocab = Vocab.from_sentences(SENTENCES, "iob2", text=TEXT)
    batches = TrainingBatches(SENTENCES, vocab, [], config, 2, 1, unlabelled=TEXT)
    first, again, second = ([shard.batch for shard in batches.shards(epoch)] for epoch in (1, 1, 2))
    assert [batch.tags is None for batch in first] == [False, True] * 2 + [False] * 8
    assert len(batches) == len(first) == 12
    words = [[batch.words.tolist() for batch in epoch] for epoch in (first, again, second)]
    assert words[0] == words[1] != words[2]


def test_the_confidence_of_an_intent_is_its_target():
    sentence = Sentence.from_tokens(["x"], [], "go")
    vocab = Vocab.from_sentences([sentence], "iob2", intents=True)
    predicted = Sentence.from_tokens(["y"], [], "go")
    predicted.confidence = Confidence([], 0.9, 0.25)
    assert [row.tolist() for row in vocab.intent_targets([sentence, predicted])] == [[1], [0.25]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "leave Oslo\n\nhello\n"),
        ("a.jsonl", '{"text": "leave Oslo"}\n{"text": "hello"}\n'),
        ("a.jsonl", '{"text": "leave Oslo", "slots": {"from": "Oslo"}}\n{"text": "hello"}\n'),
        ("a.txt", '{"text": "leave Oslo"}\n{"text": "hello"}\n'),
        ("a.brackets", "leave [Oslo](from)\nhello\n"),
        ("a.conll", "leave O\nOslo B-from\n\nhello O\n"),
        ("a.csv", "text,id\nleave Oslo,1\nhello,2\n"),
        ("a.log", "leave\tO\nOslo\tB-from\n\nhello\tO\n"),
    ],
)
def test_text_is_read_from_any_format_without_labels(name, content, tmp_path):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    config = parse_config("", "x", [f"train.text={path}"])
    sentences = read_text(config, "train", Tokenizer())
    assert [each.tokens for each in sentences] == [["leave", "Oslo"], ["hello"]]
    assert {each.slots and tuple(each.slots) for each in sentences} == {None}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", b"hello\nna\xefve\n", "a.txt:2: "),
        ("a.txt", b"\n \n", "a.txt: no sentences; the file has no words"),
        ("a.jsonl", b'{"text": "hello"}\n{"text": 1}\n', "a.jsonl:2: "),
    ],
)
def test_text_that_cannot_be_read_is_named_with_its_line(
    name, content, problem, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    config = parse_config("", "x", [f"train.text={name}"])
    with pytest.raises(DataError) as error:
        read_text(config, "train", Tokenizer())
    assert str(error.value).startswith(problem)


@pytest.mark.parametrize("section", ["train", "distil"])
def test_text_that_is_gone_is_named_with_its_key(section, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "teacher.jsonl").touch()
    changes = ["distil.teachers=[teacher.jsonl]", f"{section}.text=a.txt"]
    config = parse_config("", "x", changes if section == "distil" else changes[1:])
    (tmp_path / "a.txt").rename("b.txt")
    with (
        pytest.raises(ConfigError, match=f"{section}.text: there is no file a.txt; did you mean"),
        config.locate_errors(),
    ):
        read_text(config, section, Tokenizer())


def test_train_with_text(desk, cli):
    """A run of two rounds; a file that is not there is an error of the config."""
    (desk / "text.jsonl").write_text(
        "".join(
            json.dumps({"text": f"fly from {city} to Lima"}) + "\n" for city in ("Rome", "Oslo")
        )
    )
    result = cli("train", "tiny.yaml", "train.epochs=2", "train.text=text.jsonl", "--out", "run")
    assert result.code == 0
    rows = (desk / "run" / "history.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[0].split(",")[6] == "round"
    assert [row.split(",")[6] for row in rows[1:]] == ["0", "0", "1", "1"]

    for settings, problem in {
        "train.text=texts.jsonl": "there is no file texts.jsonl; did you mean 'text.jsonl'?",
        "train.text=text.jsonl train.self_training=0": "train.text: nothing reads it; raise",
        "train.self_training=2": "train.self_training: needs train.text, the unlabelled sentences",
    }.items():
        result = cli("train", "tiny.yaml", *settings.split(), "--out", "other")
        assert result.code == 2 and problem in result.err
        assert cli("check", "tiny.yaml", *settings.split()) == result
    words = ["tune", "tiny.yaml", "tune.train.self_training=[0, 2]", "--trials", "2"]
    assert "tune.train.self_training: needs train.text" in cli(*words).err
    # A run that was trained so is loaded all the same, and continued as its keys say.
    config = (desk / "tiny.yaml").read_text().replace("{epochs", "{self_training: 2, epochs")
    assert parse_config(config, "config.yaml").train.self_training == 2
    base = parse_config(config, "config.yaml", ["train.text=text.jsonl"])
    words = ["data.path=corpus", "train.from_run=run"]
    inherited = parse_config("", "x", words, need_data=True, base=base).train
    assert (inherited.self_training, inherited.text) == (2, None)


def test_text_of_distillation_has_another_key():
    config = parse_config("", "x", SMALL)
    vocab = Vocab.from_sentences(SENTENCES, config.scheme)
    model = build_model(config, vocab, learning=True)
    with pytest.raises(ConfigError, match="in distillation; set distil"):
        Trainer(model, config.train, vocab, SENTENCES, (), validation_metrics, [None] * 20, TEXT)


def test_nothing_is_learned_from_sentences_of_valid(desk, cli):
    Path("train.brackets").write_text("leave [Oslo](city)\narrive in [Rome](city)\n")
    Path("valid.brackets").write_text("go to [Bern](city) now\n")
    Path("text.txt").write_text("go to Bern now\nleave Bern\n")
    assert cli("convert", "valid.brackets", "valid.jsonl").code == 0
    words = ["data.train=train.brackets", "data.valid=valid.brackets", "embedding=word", *SHORT]
    trained = cli("train", *words, "train.text=text.txt")
    assert "warning: train.text: 1 sentence left out, which valid or test has" in trained.out
    assert "The last round added 1 sentence of train.text" in trained.out
    taught = cli("distil", "valid.jsonl", *words, "--out", "runs/student")
    assert taught.code == 0
    assert "warning: distil: 1 sentence left out, which valid or test has" in taught.out
    assert "Bern" not in json.loads(Path("runs/student/vocab.json").read_text())["tokens"]
