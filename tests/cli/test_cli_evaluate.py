"""`slotfill evaluate`, as it is typed: on which sentences, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.evaluation.metrics import EvaluationResult


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_test_split_is_scored_if_nothing_is_said(trained, cli):
    result = cli("evaluate", trained)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("test: 8 sentences, ")
    for word in (
        "destination",
        "origin",
        "all slots",
        "95% interval",
        "seqeval default mode",
        "not in the training sentences",
    ):
        assert word in result.out
    assert result.out == cli("evaluate", trained, "--split", "test").out


@pytest.mark.parametrize(
    ("split", "count"), [("train", 40), ("valid", 16), ("dev", 16), ("pairs", 4)]
)
def test_any_split_of_the_corpus_can_be_scored(split, count, trained, cli):
    assert cli("evaluate", trained, "--split", split).out.startswith(
        f"{split}: {count} sentences, "
    )


def test_a_split_that_is_not_there_is_told_those_that_are(trained, cli):
    result = cli("evaluate", trained, "--split", "tset")
    assert result.err == (
        "slotfill: no split 'tset'; did you mean 'test'? (allowed: pairs, test, train, valid)\n"
    )
    assert (result.code, result.out) == (2, "")


def test_json_is_for_programs_and_says_the_same_as_the_run(trained, cli):
    result = cli("evaluate", trained, "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert set(found) == set(EvaluationResult.__dataclass_fields__) - {"intent"}, (
        "this run has learned no intents"
    )
    assert set(found["overall"]) == {"precision", "recall", "f1", "support"}
    assert found == json.loads((trained / "scores.json").read_text())["splits"]["test"]


def test_other_sentences_are_scored_by_their_path(trained, cli):
    Path("mine.conll").write_text("leave\tO\nOslo\tB-origin\n\nhello\tO\nthere\tO\n")
    found = json.loads(cli("evaluate", trained, "--data", "mine.conll", "--json").out)
    assert (found["sentences"], found["overall"]["support"]) == (2, 1)
    for words, code, message in (
        (["--data", "mnie.conll"], 3, "mnie.conll: no such file; did you mean 'mine.conll'?"),
        (["--data", "mine.conll", "--split", "test"], 2,
         "--split names a split of the run's own data, --data other data: give one"),
    ):  # fmt: skip
        result = cli("evaluate", trained, *words)
        assert (result.code, result.err, result.out) == (code, f"slotfill: {message}\n", "")


def test_slots_the_model_does_not_know_are_counted_and_missed(trained, cli):
    Path("mine.brackets").write_text("leave [Oslo](origin) at [noon](time)\n[zzz](class) please\n")
    found = json.loads(cli("evaluate", trained, "--data", "mine.brackets", "--json").out)
    assert (found["unknown_slots"], found["unknown_names"]) == (2, ["class", "time"])
    assert found["unknown_words"] == 3
    assert found["slots"]["time"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert found["overall"]["support"] == 3
    assert (
        "3 tokens, 2 slots by name (class, time)"
        in cli("evaluate", trained, "--data", "mine.brackets").out
    )


def test_unlabelled_sentences_cannot_be_scored(trained, cli):
    Path("mine.jsonl").write_text('{"text": "leave Oslo"}\n')
    result = cli("evaluate", trained, "--data", "mine.jsonl")
    assert (result.code, result.out) == (3, "")
    assert (
        result.err
        == "slotfill: mine.jsonl:1: the sentence has no labels, which training and scoring need\n"
    )


def test_a_script_can_ask_for_a_least_f1(trained, cli):
    Path("wrong.brackets").write_text("[hello](origin) there\n")
    assert cli("evaluate", trained, "--data", "wrong.brackets", "--min-f1", "0").code == 0
    result = cli("evaluate", trained, "--data", "wrong.brackets", "--json", "--min-f1", "60.5")
    assert (result.code, result.err) == (1, "slotfill: F1 0.00 is below --min-f1 60.5\n")
    assert json.loads(result.out)["overall"]["f1"] == 0
    assert cli("evaluate", trained, "--min-f1", "101").code == 2


def test_how_other_sentences_are_written_can_be_said(trained, cli, corpus, tmp_path):
    target = tmp_path / "test.conll"
    assert cli("convert", corpus / "test.brackets", target, "--to-scheme", "bioes").code == 0
    refused = cli("evaluate", trained, "--data", target)
    assert refused.code == 3 and "set data.scheme: bioes" in refused.err
    told = json.loads(cli("evaluate", trained, "data.scheme=bioes", "--data", target, "--json").out)
    own = json.loads(cli("evaluate", trained, "--json").out)
    assert told["overall"] == own["overall"]
    assert cli("evaluate", trained, "data.schema=bioes").code == 2
