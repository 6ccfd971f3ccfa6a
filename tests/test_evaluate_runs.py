"""scripts/evaluate_runs.py: the scores of each run, their mean and standard deviation."""

from __future__ import annotations

import json
import runpy
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from typer.testing import CliRunner

from slotfill.cli.main import app
from slotfill.runs.evaluate import evaluate_run
from slotfill.runs.load import load_run
from slotfill.runs.manifest import RunFiles

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "evaluate_runs.py"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs on a tiny corpus, of two seeds, and one that is not finished."""
    room = tmp_path_factory.mktemp("runs")
    lines = [
        f"{verb} [{city}](city) [{day}](day)\n"
        for verb in ("to", "from")
        for city in "abcd"
        for day in "xyz"
    ]
    (room / "data").mkdir()
    for split in ("train", "valid", "test"):
        (room / "data" / f"{split}.brackets").write_text("".join(lines), encoding="utf-8")
    (room / "mine.yaml").write_text(
        "data: {path: data}\nembedding: word\nencoder: {name: recurrent, hidden_size: 4}\ntrain:"
        " {epochs: 1}\n",
        encoding="utf-8",
    )
    for seed in ("1", "2"):
        words = [
            "train",
            str(room / "mine.yaml"),
            "--seed",
            seed,
            "--out",
            str(room / seed),
            "--device",
            "cpu",
        ]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    (room / "3.partial").mkdir()
    return room


@pytest.fixture
def evaluate_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Call the script in this process."""

    def call(*words: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", [SCRIPT.name, *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return Result(int(end.value.code or 0), *capsys.readouterr())

    return call


def test_json_and_table(runs, evaluate_runs):
    names = [runs / "1", runs / "2", runs / "3.partial"]
    done = evaluate_runs(*names, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    f1s = [evaluate_run(load_run(run)).overall.f1 for run in names[:2]]
    assert [row["f1"] for row in result["runs"].values()] == pytest.approx(f1s)
    assert result["mean"]["f1"] == pytest.approx(statistics.mean(f1s))
    assert result["deviation"]["f1"] == pytest.approx(statistics.stdev(f1s))
    table = evaluate_runs(*names, "--split", "valid").out.splitlines()
    assert len(table) == 5
    assert (
        table[-1].startswith("| mean of 2 |")
        and f"{statistics.mean(f1s):.2f} ± {statistics.stdev(f1s):.2f}" in table[-1]
    )


def test_all_runs_are_evaluated_on_one_split_that_is_named(runs, evaluate_runs):
    folder = runs / "no test"
    (folder / "data").mkdir(parents=True)
    for split in ("train", "valid"):
        shutil.copy(runs / "data" / f"{split}.brackets", folder / "data")
    shutil.copytree(runs / "1", folder / "3")
    config = folder / "3" / "config.yaml"
    text = config.read_text().replace(str(runs / "data"), str(folder / "data"))
    RunFiles(folder / "3").replace({"config.yaml": text.encode()})
    result = json.loads(evaluate_runs(runs / "1", runs / "2", "--json").out)
    assert result["split"] == "test"
    done = evaluate_runs(runs / "1", folder / "3", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["split"] == "valid"
    f1 = evaluate_run(load_run(runs / "1"), split="valid").overall.f1
    assert [row["f1"] for row in result["runs"].values()] == pytest.approx([f1, f1])
    assert evaluate_runs(runs / "1", folder / "3").out.startswith("| run on valid |")


def test_one_run_has_no_deviation(runs, evaluate_runs):
    done = evaluate_runs(runs / "1", "--data", runs / "data" / "test.brackets")
    assert done.out.splitlines()[-1].startswith("| mean of 1 |") and "±" not in done.out


def test_errors_are_one_line(runs, evaluate_runs):
    for words, code in (
        ([runs / "3.partial"], 1),
        ([runs / "none"], 2),
        ([runs / "1", "--split", "tset"], 2),
    ):
        done = evaluate_runs(*words)
        assert (done.code, done.out) == (code, "")
        assert done.err.startswith("evaluate_runs: ") and done.err.count("\n") == 1
