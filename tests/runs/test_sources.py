"""A run knows what its user-defined parts were: edited ones are an error wherever it is used."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import write_config

from slotfill.config.builtin import load_config
from slotfill.config.registry import trust_external_parts, user_part
from slotfill.runs.environment import environment, list_differences
from slotfill.runs.folder import RunFolder
from slotfill.runs.train import train

CELL = """from slotfill.model.cells.elman import Elman


class Mine(Elman):
    scale = 1.0

    def step(self, projected, state):
        return super().step(self.scale * projected, state)
"""
EDITED = CELL.replace("1.0", "0.0")
TOKENIZER = """class Mine:
    def split(self, text):
        return [(0, len(text.rstrip()))][: len(text)]
"""


@pytest.fixture
def mine(desk):
    """The file of a cell, which `mine.yaml` names."""
    path = Path("mine.py")
    path.write_text(CELL)
    write_config(Path("mine.yaml"), encoder="{name: recurrent, hidden_size: 4, cell: ./mine.py}")
    return path


def assert_one_line(result, code, *parts):
    assert (result.code, result.err.count("\n")) == (code, 1), result.err
    for part in parts:
        assert part in result.err


def test_a_run_with_an_edited_part_is_used_only_as_it_was_exported(mine, cli):
    words = ["mine.yaml", "train.epochs=1", "--trust", "--device", "cpu"]
    assert cli("train", *words, "--out", "run").code == 0
    stored = json.loads(Path("run/parts.json").read_text())
    assert stored == {
        str(mine.resolve()): {"sha256": sha256(CELL.encode()).hexdigest(), "source": CELL}
    }
    assert "parts.json" in json.loads(Path("run/manifest.json").read_text())["files"]
    before = cli("evaluate", "run", "--json").out
    mine.write_text(EDITED)
    for command in (["evaluate", "run", "--engine", "torch"], ["export", "run"]):
        assert_one_line(
            cli(*command, "--trust"),
            1,
            "slotfill: mine.py: is not what run was trained with; restore it (its source is in"
            " run/parts.json), or train the run again\n",
        )
    result = cli("evaluate", "run", "--json")
    assert result.out == before
    assert_one_line(
        result,
        0,
        "slotfill: mine.py: is not what run was trained with; the network that was trained is used",
    )
    mine.unlink()
    assert_one_line(cli("evaluate", "run", "--engine", "torch", "--trust"), 1, "there is no file")
    assert cli("predict", "run", "arrive Oslo").err == ""
    mine.write_text(CELL)
    assert cli("predict", "run", "arrive Oslo").err == ""
    assert cli("evaluate", "run", "--engine", "torch", "--trust").code == 0


def test_compare_reuses_no_run_of_an_edited_part(mine, cli):
    words = ["compare", "mine.yaml", "train.epochs=1", "--seeds", "1", "--trust"]
    assert cli(*words).code == 0
    assert "1 of them already finished" in cli(*words).out
    mine.write_text(EDITED)
    folder = Path("runs/compare/corpus/mine-seed1")
    hint = f"or remove {folder}, or choose another --out"
    result = cli(*words)
    assert_one_line(result, 2, f"mine.py: is not what {folder} was trained with; ", hint)
    assert result.out == ""
    assert cli(*words, "--out", "other").code == 0


def test_a_stopped_run_is_not_resumed_with_an_edited_part(mine, cli):
    config = load_config("mine.yaml", ["train.epochs=3"])[1]

    def stop(progress):
        if progress.epoch == 2:
            raise KeyError

    def began():
        return environment() | {"versions": {"numpy": "1.0"}}

    with trust_external_parts(), suppress(KeyError), pytest.MonkeyPatch.context() as patch:
        patch.setattr("slotfill.runs.folder.environment", began)
        train(config, RunFolder(Path("run")), stop)
    mine.write_text(EDITED)
    resume = ["train", "--resume", "run", "--trust", "--device", "cpu"]
    assert_one_line(cli(*resume), 1, "mine.py: is not what run.partial was trained with; restore")
    mine.write_text(CELL)
    parts = Path("run.partial/parts.json")
    content = parts.read_text()
    parts.write_text(content.replace("1.0", "2.0"))
    assert_one_line(cli(*resume), 1, "slotfill: run.partial/parts.json: damaged, edited or of")
    parts.unlink()
    assert_one_line(cli(*resume), 1, "slotfill: run.partial/parts.json: missing; restore it, or")
    parts.write_text(content)
    result = cli(*resume)
    assert (result.code, "so the result may be another: numpy (1.0, " in result.out) == (0, True)
    assert "parts.json" in json.loads(Path("run/manifest.json").read_text())["files"]


def test_a_study_is_not_continued_with_an_edited_part(mine, cli):
    pytest.importorskip("optuna", reason="pip install '.[tune]'")
    words = ["tune", "mine.yaml", "train.epochs=1", "tune.encoder.hidden_size=[4, 6]", "--trust"]
    assert cli(*words, "--trials", "1").code == 0
    mine.write_text(EDITED)
    assert_one_line(
        cli(*words, "--trials", "2"), 2, "was started with parts.mine.py ", "choose another --out"
    )


def test_an_edited_tokenizer_is_an_error_for_every_engine(desk, cli):
    path = Path("whole.py")
    path.write_text(TOKENIZER)
    words = ["train", "tiny.yaml", "data.tokenizer=./whole.py", "train.epochs=1", "--trust"]
    assert cli(*words, "data.misaligned=widen", "--out", "run").code == 0
    assert cli("predict", "run", "arrive Oslo", "--trust").code == 0
    path.write_text(TOKENIZER.replace("rstrip", "strip"))
    assert_one_line(
        cli("predict", "run", "arrive Oslo", "--trust"), 1, "whole.py: is not what run was trained"
    )


def test_an_edited_file_is_another_part_in_the_same_process(mine):
    with trust_external_parts():
        before, again = user_part("mine.py").load(), user_part("mine.py").load()
        mine.write_text(EDITED)
        after = user_part("mine.py").load()
    assert before is again and (before.scale, after.scale) == (1.0, 0.0)
    assert not Path("__pycache__").exists()


def test_an_environment_has_what_may_change_results(trained):
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["processor"] and set(environment["commits"]) == {"slotfill", "folder"}
    other = json.loads(json.dumps(environment))
    assert list_differences([environment, other]) == []
    other["versions"]["torch"] = "3.0"
    other["code"] = "0123456789ab"
    torch = environment["versions"]["torch"]
    expected = [f"torch ({torch}, 3.0)", f"code of slotfill ({environment['code']}, 0123456789ab)"]
    assert list_differences([environment, other, environment]) == expected


def test_commits_tell_runs_apart_that_have_no_checksum_of_the_code():
    runs = [{"commits": {"slotfill": commit}} for commit in ("a", "b", "a")]
    assert list_differences(runs) == ["commit of slotfill (a, b)"]
