"""The model card says what the run folder stores, in the form that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import platform
import re
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from slotfill import markdown
from slotfill.errors import RunError
from slotfill.runs.card import render_card
from slotfill.runs.manifest import RunFiles, render_manifest
from slotfill.runs.pack import pack_run, packed_files


def front_matter(card: str) -> dict:
    start, front, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(front)


def test_model_index_has_the_scores_of_each_split(trained):
    scores = json.loads((trained / "scores.json").read_text())["splits"]
    (model,) = front_matter(render_card(trained))["model-index"]
    assert model["name"] == trained.name
    assert [result["dataset"]["split"] for result in model["results"]] == [*scores]
    for result, stored in zip(model["results"], scores.values(), strict=True):
        found = {metric["type"]: metric["value"] for metric in result["metrics"]}
        expected = {kind: round(stored["overall"][kind] / 100, 4) for kind in found}
        assert found == expected and found.keys() == {"f1", "precision", "recall"}


def test_model_index_is_read_by_the_library_of_the_hub(trained):
    hub = pytest.importorskip("huggingface_hub", reason="pip install '.[hub]'")
    data = hub.ModelCard(render_card(trained)).data
    assert data.model_name == trained.name and data.library_name == "slotfill"
    assert {result.metric_type for result in data.eval_results} == {"f1", "precision", "recall"}


def test_page_has_intervals_and_slots(trained):
    card = render_card(trained)
    test = json.loads((trained / "scores.json").read_text())["splits"]["test"]
    low, high = test["f1_interval"]
    assert f"| {low:.2f} to {high:.2f} |" in card
    for slot, score in test["slots"].items():
        assert f"| `{slot}` | {score['f1']:.2f} | " in card
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_limits_name_uncertain_slots(trained):
    limits = render_card(trained).partition("## Limits")[2]
    assert "Fewer than 20 gold slots, so an uncertain score: `destination`, `origin`." in limits


def test_names_are_shown_as_they_are(trained, tmp_path):
    """A name between backticks of Markdown has no escapes; a cell of a table has that of |."""
    run = shutil.copytree(trained, tmp_path / "a|b`c``d")
    title = render_card(run).partition("\n# ")[2].partition("\n")[0]
    assert title == "``` a|b`c``d ```"
    assert markdown.table(["x"], [[markdown.code("a|b")]]).endswith("| `a\\|b` |")


def test_card_has_no_details_of_the_machine(trained):
    made = json.loads((trained / "environment.json").read_text())
    training = render_card(trained).partition("## Training")[2]
    assert platform.release() not in training and platform.system() in training
    assert f" with {made['processors']} processor" in training


def test_scores_on_the_sentences_of_training_are_a_limit(desk, cli):
    files = ["data.train=corpus/train.brackets", "data.test=corpus/train.brackets"]
    files += ["data.valid=corpus/valid.brackets", "embedding=word", "train.epochs=1"]
    assert cli("train", *files, "--out", "one").code == 0
    limits = cli("card", "one").out.partition("## Limits")[2]
    assert "The sentences of `test` are those of training" in limits and "`valid` are" not in limits


def test_card_has_no_path_of_the_machine(trained):
    assert str(trained.parent) not in render_card(trained)
    assert "`corpus`" in render_card(trained)


def test_card_of_a_run_without_other_splits_says_so(desk, cli):
    shutil.copy("corpus/train.brackets", "one.brackets")
    settings = ["data.path=one.brackets", "data.holdout=0", "embedding=word"]
    assert cli("train", *settings, "train.epochs=1", "--out", "one").code == 0
    card = cli("card", "one").out
    assert "model-index" not in front_matter(card) and "None: the run had no sentences" in card


def test_what_a_run_says_of_itself_is_shown_as_it_is(trained, tmp_path):
    hostile = "a\n\n# b <script> \x1b]0;c\x07 \u202e [d](javascript:e) https://f.g"
    shown = "`a # b <script> \\u001b]0;c\\u0007 \\u202e [d](javascript:e) https://f.g`"
    run = shutil.copytree(trained, tmp_path / hostile.replace("/", "|"))
    made = json.loads((run / "environment.json").read_text())
    made["versions"]["slotfill"], made["platform"] = hostile, hostile
    vocab = (run / "vocab.json").read_text().replace("origin", json.dumps(hostile)[1:-1])
    RunFiles(run).replace(
        {"environment.json": json.dumps(made).encode(), "vocab.json": vocab.encode()}
    )
    card = render_card(run)
    assert f"slotfill {shown}, " in card and f" s on {shown} with " in card
    assert f"Slots: {shown}, `destination`." in card
    assert not re.search("[\x1b\x07\u202e]", card) and "\n# b" not in card
    assert "<" not in card.split("---\n")[1]
    path = tmp_path / "run.zip"
    path.write_bytes(pack_run(run))
    assert render_card(path) == card


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("scores.json", {"splits": {"<b>": {}}}, "scores.json: splits.<b>"),
        ("environment.json", {"finished": 2026}, "environment.json: finished must be a string"),
        ("vocab.json", {"tokens": {"a": 10**4299, "b": 9 * 10**4299}}, "a count is above 1,000"),
    ],
)
def test_a_file_that_is_not_of_a_run_is_one_line(name, content, problem, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    changed = json.loads((run / name).read_text()) | content
    RunFiles(run).replace({name: json.dumps(changed).encode()})
    with pytest.raises(RunError, match=re.escape(problem)) as error:
        render_card(run)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"# a \x1b]0;b\x07\n\nc\n", "# a \\u001b]0;b\\u0007\n\nc\n"), (b"\xff", None)],
)
def test_the_card_of_a_packed_run_has_no_control_characters(content, found, trained, tmp_path, cli):
    files = packed_files(trained)
    del files["manifest.json"]
    files["README.md"] = content
    path = tmp_path / "run.zip"
    with ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", render_manifest(files, completed=True))
    result = cli("card", path)
    if found is None:
        assert (result.code, result.out) == (1, "")
        assert result.err == f"slotfill: {path / 'README.md'}: not UTF-8; pack the run again\n"
    else:
        assert (result.code, result.out) == (0, found)


def test_card_command_writes_a_file(trained, cli, tmp_path):
    assert cli("card", trained).out == render_card(trained)
    path = tmp_path / "README.md"
    assert cli("card", trained, "--out", path).code == 0
    assert path.read_text(encoding="utf-8") == render_card(trained)
    assert cli("card", trained, "--out", path).code == 2
    assert cli("card", tmp_path / "none").err.startswith("slotfill: no run folder")


def test_packed_run_has_its_card(trained, tmp_path):
    path = tmp_path / "run.zip"
    path.write_bytes(pack_run(trained))
    assert render_card(path) == render_card(trained)


def test_card_of_intents(desk, cli):
    rows = Path("corpus/train.brackets").read_text().splitlines()
    labelled = [f"[]({'greet' if 'hello' in row else 'book'}) {row}\n" for row in rows]
    Path("intents.brackets").write_text("".join(labelled))
    settings = ["data.path=intents.brackets", "intent=mean", "embedding=word", "train.epochs=1"]
    result = cli("train", *settings, "--out", "run")
    assert result.code == 0, result.err
    card = cli("card", "run").out
    assert "Intents: `book`, `greet`." in card and "Intents on `valid`: accuracy" in card
    if "model-index" in front_matter(card):
        metrics = front_matter(card)["model-index"][0]["results"][0]["metrics"]
        assert metrics[-1]["name"] == "Intent accuracy"
