"""`slotfill diff`: two runs, or two files of predictions of any tool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.data.sentence import Sentence, Slot
from slotfill.evaluation.metrics import slot_f1
from slotfill.inference.tagging import Predictions
from slotfill.lab.diff import diff_predictions
from slotfill.runs.evaluate import evaluate_run
from slotfill.runs.load import load_run

GOLD = """leave [Oslo](origin) for [New York](destination)
arrive [Lima](destination)
hello there
fly to [Paris](destination)
"""
A = """leave [Oslo](origin) for [New York](destination)
arrive [Lima](origin)
[hello](origin) there
fly to Paris
"""
B = [
    {"text": "leave Oslo for New York", "slots": [{"name": "destination", "start": 15, "end": 18}]},
    {"text": "arrive  Lima", "slots": [{"name": "destination", "start": 8, "end": 12}]},
    {"text": "hello there", "slots": []},
    {"text": "fly to Paris", "slots": [{"name": "origin", "start": 7, "end": 12}]},
]


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[str]:
    """The options of a diff of two files."""
    monkeypatch.chdir(tmp_path)
    Path("gold.brackets").write_text(GOLD)
    Path("a.brackets").write_text(A)
    Path("b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in B))
    return ["--gold", "gold.brackets", "--a", "a.brackets", "--b", "b.jsonl"]


def test_files_of_two_formats_are_compared(files, cli):
    result = cli("diff", *files, "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert (found["a"], found["b"], found["sentences"]) == ("a.brackets", "b.jsonl", 4)
    assert (found["better"], found["worse"], found["different"]) == (2, 2, 0)
    # Correct, predicted, gold: A 2, 4, 4; B 1, 3, 4.
    assert found["f1"] == {"a": pytest.approx(50), "b": pytest.approx(200 / 7)}
    assert found["difference"] == pytest.approx(200 / 7 - 50)
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]
    assert 0 < found["p"] <= 1 and found["intent_accuracy"] is None
    assert {name: (row["fixed"], row["broken"]) for name, row in found["slots"].items()} == {
        "destination": (1, 1),
        "origin": (0, 1),
    }
    first, *_ = found["changes"]
    assert (first["change"], first["location"]) == ("worse", "gold.brackets:1")
    assert first["gold"]["slots"][1] == {
        **{"name": "destination", "value": "New York", "start": 15, "end": 23}
    }
    assert [slot["value"] for slot in first["b"]["slots"]] == ["New"]


def test_what_is_printed(files, cli):
    out = cli("diff", *files).out
    assert "Better: 2 sentences\n" in out and "Worse: 2 sentences\n" in out
    expected = (
        "gold.brackets:2: arrive Lima\n"
        "  gold  destination='Lima'\n"
        "  A     origin='Lima'\n"
        "  B     destination='Lima'\n"
    )
    assert expected in out
    assert "  A     -\n  B     origin='Paris'\n" in out
    assert "F1 50.00 (A), 28.57 (B): -21.43, 95% interval" in out
    assert "not significant" in out
    assert "gold.brackets:2" not in cli("diff", *files, "--limit", "0").out


def test_a_file_with_other_texts_is_refused(files, cli):
    Path("b.jsonl").write_text('{"text": "leave Oslo now", "slots": []}\n')
    result = cli("diff", *files)
    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "slotfill: b.jsonl:1: the text is 'leave Oslo now', but gold.brackets:1 has 'leave Oslo for"
        " New York'; give the same sentences in the same order\n"
    )
    Path("b.jsonl").write_text(json.dumps(B[0]) + "\n")
    result = cli("diff", *files)
    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "slotfill: b.jsonl:1: 1 sentence, but 4 sentences up to gold.brackets:4; give the same"
        " sentences in the same order\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["run", "run", "run"],
        ["run", "run", "--scheme", "bioes"],
        ["--gold", "gold.brackets"],
        ["run", "run", "--gold", "gold.brackets", "--a", "a.brackets", "--b", "b.jsonl"],
        ["run", "run", "--split", "test", "--data", "gold.brackets"],
    ],
)
def test_wrong_use(words, files, cli):
    result = cli("diff", *words)
    assert (result.code, result.out) == (2, "") and result.err.count("\n") == 1
    assert "give" in result.err


@pytest.fixture(scope="module")
def other(corpus, tmp_path_factory) -> Path:
    """A run on the same corpus, trained less and with other tokens."""
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    overrides = [f"data.path={corpus}", "data.tokenizer=characters", "train.epochs=2"]
    _, config = load_config(None, overrides)
    folder = tmp_path_factory.mktemp("diff") / "other"
    return train(config, RunFolder(folder), lambda progress: None).path


@pytest.mark.parametrize("words", [[], ["--split", "valid"]])
def test_runs_are_compared_as_they_are_evaluated(words, trained, other, cli):
    found = json.loads(cli("diff", trained, other, *words, "--json").out)
    split = words[1] if words else None
    scores = [evaluate_run(load_run(run), split=split) for run in (trained, other)]
    assert found["f1"] == dict(zip("ab", (each.overall.f1 for each in scores), strict=True))
    assert found["f1"]["a"] > found["f1"]["b"] and found["better"] < found["worse"]
    for name, row in found["slots"].items():
        before, after = (each.slots[name] for each in scores)
        correct = [round(each.recall * each.support / 100) for each in (before, after)]
        assert row["f1"] == {"a": before.f1, "b": after.f1}
        assert row["fixed"] - row["broken"] == correct[1] - correct[0]


def test_a_run_does_not_differ_from_itself(trained, cli):
    result = cli("diff", trained, trained)
    assert "8 sentences: 0 better, 0 worse, 0 different with as many errors" in result.out
    assert "+0.00, 95% interval +0.00 to +0.00, p = 1.0000, not significant" in result.out
    assert "┃" not in result.out


def test_other_sentences(trained, other, cli, files):
    found = json.loads(cli("diff", trained, other, "--data", "gold.brackets", "--json").out)
    assert found["sentences"] == 4


def test_intents_count_as_errors_if_all_have_them():
    gold = [Sentence.from_tokens(["a", "b"], [Slot("x", 0, 1)], intent) for intent in ("i", "j#k")]
    right = [[Slot("x", 0, 1)], [Slot("x", 0, 1)]]
    a, b = Predictions(right, ["i", "j"]), Predictions(right, ["j", "k#j"])
    found = diff_predictions(gold, a, b)
    assert found.intents == (50, 50) and found.difference == 0
    assert [change.verdict for change in found.changes] == ["worse", "better"]
    assert found.f1_a == slot_f1(gold, right) == 100
    none = diff_predictions(gold, a, Predictions(right, [None, None]))
    assert none.intents is None and none.changes == []


def test_an_unknown_scheme_is_refused_also_for_files_without_tags(files, cli):
    done = cli("diff", *files, "--scheme", "bioe")
    assert done.code == 2 and "unknown tag scheme 'bioe'; did you mean 'bioes'?" in done.err
