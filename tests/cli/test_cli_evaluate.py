"""The command `evaluate`: splits, other sentences, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.evaluation.metrics import EvaluationResult


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_evaluate_uses_the_test_split_by_default(trained, cli):
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
def test_evaluate_any_split_of_the_corpus(split, count, trained, cli):
    assert cli("evaluate", trained, "--split", split).out.startswith(
        f"{split}: {count} sentences, "
    )


def test_an_unknown_split_lists_the_splits(trained, cli):
    result = cli("evaluate", trained, "--split", "tset")
    assert result.err == (
        "slotfill: no split 'tset'; did you mean 'test'? (allowed: pairs, test, train, valid)\n"
    )
    assert (result.code, result.out) == (2, "")


def test_json_equals_the_scores_of_the_run_folder(trained, cli):
    result = cli("evaluate", trained, "--json")
    assert (result.code, result.err) == (0, "")
    scores = json.loads(result.out)
    assert set(scores) == set(EvaluationResult.__dataclass_fields__) - {"intent"}, (
        "this run has learned no intents"
    )
    assert set(scores["overall"]) == {"precision", "recall", "f1", "support"}
    assert scores == json.loads((trained / "scores.json").read_text())["splits"]["test"]


def test_evaluate_other_sentences(trained, cli):
    Path("mine.conll").write_text("leave\tO\nOslo\tB-origin\n\nhello\tO\nthere\tO\n")
    scores = json.loads(cli("evaluate", trained, "--data", "mine.conll", "--json").out)
    assert (scores["sentences"], scores["overall"]["support"]) == (2, 1)
    for words, code, message in (
        (["--data", "mnie.conll"], 2, "mnie.conll: no such file; did you mean 'mine.conll'?"),
        (["--data", "mine.conll", "--split", "test"], 2,
         "--split names a split of the run's own data, --data other data: give one"),
    ):  # fmt: skip
        result = cli("evaluate", trained, *words)
        assert (result.code, result.err, result.out) == (code, f"slotfill: {message}\n", "")


def test_unknown_slot_names_are_counted(trained, cli):
    Path("mine.brackets").write_text("leave [Oslo](origin) at [noon](time)\n[zzz](class) please\n")
    scores = json.loads(cli("evaluate", trained, "--data", "mine.brackets", "--json").out)
    assert (scores["unknown_slots"], scores["unknown_names"]) == (2, ["class", "time"])
    assert scores["unknown_words"] == 3
    assert scores["slots"]["time"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert scores["overall"]["support"] == 3
    assert (
        "3 tokens, 2 slot names (class, time)"
        in cli("evaluate", trained, "--data", "mine.brackets").out
    )


def test_unlabelled_sentences_are_left_out(trained, cli):
    labelled = '{"text": "leave Oslo", "slots": []}\n'
    Path("mine.jsonl").write_text(f'{{"text": "leave Oslo"}}\n{labelled}{{"text": ""}}\n')
    result = cli("evaluate", trained, "--data", "mine.jsonl")
    assert result.code == 0
    assert result.out.splitlines()[:2] == [
        "warning: mine.jsonl: 1 unlabelled sentence is left out, at mine.jsonl:1",
        "warning: mine.jsonl: 1 text without words is left out, at mine.jsonl:3",
    ]
    result = cli("evaluate", trained, "--data", "mine.jsonl", "--json")
    assert json.loads(result.out)["sentences"] == 1
    assert result.err.count("is left out") == 2
    assert cli("evaluate", trained, "data.strict=true", "--data", "mine.jsonl").code == 3


def test_without_any_label_there_is_nothing_to_score(trained, cli):
    Path("mine.jsonl").write_text('{"text": "leave Oslo"}\n')
    result = cli("evaluate", trained, "--data", "mine.jsonl")
    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "slotfill: mine.jsonl: none of its 1 sentence has labels, which training and scoring need;"
        " label some\n"
    )


def test_min_f1_sets_the_exit_code(trained, cli):
    Path("wrong.brackets").write_text("[hello](origin) there\n")
    assert cli("evaluate", trained, "--data", "wrong.brackets", "--min-f1", "0").code == 0
    result = cli("evaluate", trained, "--data", "wrong.brackets", "--json", "--min-f1", "60.5")
    assert (result.code, result.err) == (1, "slotfill: F1 0.00 is below --min-f1 60.5\n")
    assert json.loads(result.out)["overall"]["f1"] == 0
    assert cli("evaluate", trained, "--min-f1", "101").code == 2


def test_overrides_apply_to_other_sentences(trained, cli, corpus, tmp_path):
    target = tmp_path / "test.conll"
    assert cli("convert", corpus / "test.brackets", target, "--to-scheme", "bioes").code == 0
    refused = cli("evaluate", trained, "--data", target)
    assert refused.code == 3 and "set data.scheme: bioes" in refused.err
    overridden = json.loads(
        cli("evaluate", trained, "data.scheme=bioes", "--data", target, "--json").out
    )
    own = json.loads(cli("evaluate", trained, "--json").out)
    assert overridden["overall"] == own["overall"]
    assert cli("evaluate", trained, "data.schema=bioes").code == 2


@pytest.mark.parametrize(
    "override", ["encoder.layers=7", "train={seed: 9}", "train.seed=9", "data_path=x"]
)
def test_only_keys_of_data_are_overridden(override, trained, cli):
    result = cli("evaluate", trained, "data={scheme: iob2}", override)
    key = "train.seed" if "seed" in override else override.partition("=")[0]
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"slotfill: {key}: only keys of data can be set")


def test_a_slot_called_all_slots_has_another_row_than_the_total(trained, cli):
    Path("a.brackets").write_text("leave [Oslo](all slots)\n")
    out = cli("evaluate", trained, "--data", "a.brackets").out
    assert out.startswith("a.brackets: 1 sentence, 2 tokens")
    assert out.count("│ all slots ") == out.count("│ total (all slots) ") == 1


@pytest.mark.parametrize("option", ["--errors", "--report"])
def test_what_is_read_is_not_replaced(option, trained, corpus, cli):
    Path("mine.brackets").write_text("leave [Oslo](origin)\n")
    Path("link.brackets").hardlink_to("mine.brackets")
    for file in (
        "mine.brackets",
        "link.brackets",
        trained / "config.yaml",
        corpus / "train.brackets",
    ):
        content = Path(file).read_bytes()
        done = cli("evaluate", trained, "--data", "mine.brackets", option, file, "--force")
        message = f"slotfill: {file}: is read by this command; write to another file\n"
        assert (done.code, done.out, done.err) == (2, "", message)
        assert Path(file).read_bytes() == content
    done = cli("evaluate", trained, "data.test=mine.brackets", option, "mine.brackets", "--force")
    assert done.code == 2
    for _ in range(2):
        assert cli("evaluate", trained, option, "new.html", "--force").code == 0


def test_nan_is_no_bound(trained, cli):
    for command in (
        ("evaluate", trained, "--min-f1"),
        ("evaluate", trained, "--intent-threshold"),
        ("threshold", trained, "--precision"),
        ("split", "data.jsonl", "--out", "folder", "--valid"),
    ):
        result = cli(*command, "nan")
        assert (result.code, result.out) == (2, "")
        assert result.err.endswith(f"'{command[-1]}': nan is not a number (see --help)\n")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_the_current_folder_can_be_the_run(command, trained, cli, monkeypatch):
    texts = ["leave Oslo"] if command == "predict" else []
    expected = cli(command, trained, *texts)
    monkeypatch.chdir(trained)
    assert cli(command, ".", *texts) == expected
    monkeypatch.chdir("/")
    result = cli(command, ".", *texts)
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)


def test_sentences_without_known_labels_have_no_score(trained, cli):
    Path("unknown.jsonl").write_text(
        '{"text": "leave Oslo", "slots": [], "unknown": [[0, 10]]}\n', encoding="utf-8"
    )
    out = cli("evaluate", trained, "--data", "unknown.jsonl").out
    assert "F1 -: no slot is labelled or predicted where labels are known\n" in out


def test_a_file_in_a_folder_that_cannot_be_written_is_refused_before_the_work(
    trained, cli, monkeypatch
):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    result = cli("evaluate", trained, "--report", "page.html")
    assert (result.code, result.out) == (2, "")
    assert result.err == "slotfill: page.html: its folder cannot be written to\n"


def test_a_run_whose_data_is_gone_says_how_to_give_other_sentences(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = "fly to [Rome](goal)\ngo to [Oslo](goal) now\nfrom [Bonn](origin)\n"
    Path("corpus").mkdir()
    for split in ("train", "test"):
        Path("corpus", f"{split}.md").write_text(lines)
    assert cli("train", "data.path=corpus", "train.epochs=1", "--out", "run").code == 0
    Path("corpus").rename("moved")
    hint = "give other sentences with --data FILE (evaluate: or data.test=FILE), or put it back"
    message = f"slotfill: run: was trained with corpus, which is gone; {hint}\n"
    for words in (("run",), ("run", "--split", "train"), ("run", "--split", "valid")):
        result = cli("evaluate", *words)
        assert (result.code, result.err) == (3, message)
    assert cli("diff", "run", "run").err == message
    thresholds = cli("threshold", "run", "--precision", "0.9")
    assert thresholds.code == 3
    assert "run: was trained with corpus, which is gone; put it back" in thresholds.err
    for words in (["--data", "moved/test.md"], ["data.test=moved/test.md"], ["data.path=moved"]):
        assert cli("evaluate", "run", *words).code == 0
    typo = cli("evaluate", "run", "data.test=moved/tset.md")
    assert typo.code == 2 and "did you mean 'moved/test.md'?" in typo.err
