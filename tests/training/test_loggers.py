"""Loggers record each epoch once, read back by the libraries they write for."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from slotfill.config.builtin import load_config
from slotfill.config.registry import trust_external_parts
from slotfill.errors import ConfigError, RunError, UsageError
from slotfill.runs.folder import RunFolder
from slotfill.runs.train import train

EPOCHS = 3


def train_run(log, *, resume=False, stop_after=None):
    """Train the run `run` with loggers, or stop it; return its epochs as they were reported."""
    changes = [f"train.epochs={EPOCHS}", f"train.log={log}"]
    _, config = load_config("tiny.yaml", changes, need_data=True)
    rows = []

    def stop(epoch):
        rows.append({name: value for name, value in asdict(epoch).items() if value is not None})
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    return rows, train(config, RunFolder(Path("run"), resume=resume), on_epoch=stop)


def read_csv():
    with Path("run/history.csv").open(encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def read_tensorboard():
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator("run/logs").Reload()
    rows: dict[int, dict[str, float]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag) if "." not in tag else ():
            row = rows.setdefault(event.step, {"epoch": event.step})
            assert tag not in row, "an epoch is recorded twice"
            row[tag] = event.value
    return [rows[step] for step in sorted(rows)]


def read_mlflow():
    from mlflow import MlflowClient

    client = MlflowClient("sqlite:///mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("slotfill").experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["encoder.hidden_size"] == "8"
    assert run.data.params["train.log.1.name"] == "csv"
    rows: dict[int, dict[str, float]] = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name) if "." not in name else ():
            row = rows.setdefault(metric.step, {"epoch": metric.step})
            assert name not in row, "an epoch is recorded twice"
            row[name] = metric.value
    return [rows[step] for step in sorted(rows)], run.data.metrics


@pytest.mark.parametrize("stop_after", [None, 1, 2])
def test_each_epoch_is_recorded_once_also_by_a_run_that_is_resumed(desk, stop_after):
    pytest.importorskip("tensorboard")
    rows, _ = train_run("[csv, tensorboard]", stop_after=stop_after)
    if stop_after:
        assert [row["epoch"] for row in read_csv()] == list(range(1, stop_after + 1))
        more, _ = train_run("[csv, tensorboard]", resume=True)
        rows += more
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert read_csv() == rows
    assert read_tensorboard() == [pytest.approx(row, rel=1e-6) for row in rows]
    assert len(list(Path("run/logs").iterdir())) == 1


def test_tensorboard_has_the_final_scores(desk):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, result = train_run("tensorboard")
    events = EventAccumulator("run/logs").Reload()
    for split in ("valid", "test"):
        (event,) = events.Scalars(f"{split}.f1")
        assert event.value == pytest.approx(result.scores[split].overall.f1)
    assert not Path("run/history.csv").exists(), "only the loggers that are named write"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Those of MLflow.
def test_mlflow_goes_on_with_the_run_of_a_training_that_is_resumed(desk):
    pytest.importorskip("mlflow")
    log = "[{name: mlflow, tracking_uri: 'sqlite:///mlflow.db'}, csv]"
    rows, _ = train_run(log, stop_after=2)
    more, result = train_run(log, resume=True)
    found, metrics = read_mlflow()
    assert found == [pytest.approx(row) for row in rows + more]
    assert metrics["test.f1"] == pytest.approx(result.scores["test"].overall.f1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_store_of_mlflow_that_cannot_be_used_is_named_in_one_line(desk):
    pytest.importorskip("mlflow")
    with pytest.raises(RunError, match=r"^train\.log: mlflow: [^\n]+$"):
        train_run("{name: mlflow, tracking_uri: 'ftp://nowhere'}")
    assert not Path("run.partial").exists()


LINES = '''"""One line for each epoch."""

from slotfill.parts import Logger


class Lines(Logger):
    """Writes `logs/lines.txt`.

    word: The first word of each line.
    """

    def __init__(self, *, word: str = "epoch") -> None:
        self.word = word

    def start(self, run, config):
        (run / self.folder).mkdir(exist_ok=True)
        self.path = run / self.folder / "lines.txt"
        self.path.write_text(f"seed {config['train']['seed']}\\n")

    def log(self, epoch):
        with self.path.open("a") as file:
            file.write(f"{self.word} {epoch.epoch}\\n")
'''


def test_logger_of_ones_own_is_one_file(desk):
    Path("lines.py").write_text(LINES)
    with pytest.raises(UsageError, match="--trust"):
        train_run("lines.py")
    assert not Path("run.partial").exists()
    with trust_external_parts():
        train_run("[csv, {name: lines.py, word: step}]", stop_after=2)
        train_run("[csv, {name: lines.py, word: step}]", resume=True)
    assert Path("run/logs/lines.txt").read_text() == "seed 1\nstep 1\nstep 2\nstep 3\n"
    assert len(read_csv()) == EPOCHS


def test_run_with_logs_is_replaced_by_force_and_its_logs_are_gone(desk):
    Path("lines.py").write_text(LINES)
    with trust_external_parts():
        train_run("lines.py")
    _, config = load_config("tiny.yaml", ["train.epochs=1"], need_data=True)
    train(config, RunFolder(Path("run"), force=True))
    assert not Path("run/logs").exists() and Path("run/history.csv").exists()


@pytest.mark.parametrize("fails_in", ["log", "finish"])
def test_training_whose_logger_fails_is_resumed(desk, monkeypatch, fails_in):
    from slotfill.training.loggers.csv import Csv

    def fail(self, *given):
        if fails_in == "finish" or given[0].epoch == 2:
            raise RunError("train.log: csv: no server")

    with monkeypatch.context() as broken:
        broken.setattr(Csv, fails_in, fail)
        with pytest.raises(RunError, match=r"^train\.log: csv: no server; the checkpoint of epoch"):
            train_run("csv")
    train_run("csv", resume=True)
    assert [row["epoch"] for row in read_csv()] == [1, 2, 3]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_logger_without_its_library_says_what_to_install(name, desk, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(UsageError) as error:
        train_run(f"[csv, {name}]")
    assert str(error.value) == (
        f"train.log: {name} needs {'mlflow-skinny' if name == 'mlflow' else name}; install it"
        f" with: pip install 'slotfill[{name}]'"
    )
    assert not Path("run.partial").exists()


def test_unknown_loggers_and_options_are_errors_of_the_config(desk):
    for log, message in {
        "tensorbord": "unknown logger 'tensorbord'; did you mean 'tensorboard'?",
        "[csv, mlflow, {name: csv}]": "train.log: has 'csv' twice; leave one out",
        "[{name: mlflow, uri: x}]": "train.log.0.uri: unknown key",
        "[]": "at least one logger is needed",
    }.items():
        with pytest.raises(ConfigError) as error:
            train_run(log)
        assert message in str(error.value)


def test_compare_needs_the_history(desk, cli):
    result = cli("compare", "tiny.yaml", "train.log=tensorboard", "--out", "page")
    assert result.code == 2 and "train.log: compare reads history.csv; add csv" in result.err
