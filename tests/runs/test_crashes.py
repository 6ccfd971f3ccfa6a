"""A crash, or a full disk, at any file operation of a run folder loses no run."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import torch

from slotfill.errors import RunError, UsageError
from slotfill.inference.calibration import Calibration
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import load_run
from slotfill.runs.manifest import FILES, RunFiles
from slotfill.training.loggers.csv import Csv
from slotfill.training.progress import EpochMetrics

OPERATIONS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}
"""The audit events of operations that change the file system; `fsync` is added to them."""


class Disk:
    """Counts file operations, and lets those from number `fail_at` on fail with `error`."""

    active = False
    count = 0
    fail_at = None
    once = False
    error = None

    @classmethod
    def operation(cls):
        cls.count += 1
        if cls.fail_at is not None and (
            cls.count == cls.fail_at if cls.once else cls.count >= cls.fail_at
        ):
            raise cls.error()

    @classmethod
    def audit(cls, event, arguments):
        if not cls.active or event not in OPERATIONS:
            return
        if event != "open" or (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            cls.operation()


sys.addaudithook(Disk.audit)


@contextmanager
def disk(fail_at, error, *, once):
    """Count the operations of the block, which ends where one fails."""
    Disk.count, Disk.fail_at, Disk.error, Disk.once = 0, fail_at, error, once
    Disk.active = True
    try:
        yield
    except (SystemExit, OSError, UsageError, RunError):
        pass
    finally:
        Disk.active = False


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda file: Disk.active and Disk.operation())
    numbers = count()  # As the real one, it is another one each time.
    monkeypatch.setattr("slotfill.runs.folder.environment", lambda: {"finished": next(numbers)})
    monkeypatch.setattr("slotfill.export.to_onnx.export_model", lambda *_: {})
    gc.freeze()  # So that looking for what is left of a crashed process is fast.
    yield tmp_path
    gc.unfreeze()


class Trainer:
    """What a run folder takes from a trainer: here its state is a name."""

    def __init__(self, run, name):
        self.vocab = run.vocab
        self.name = name
        self.checksums = {"training sentences": "of some sentences"}

    def state_dict(self):
        return {"weight": torch.ones(2)}, {"name": self.name}

    def load_state_dict(self, tensors, metadata):
        self.name = metadata["name"]


def finish(folder, trainer, *, completed=True):
    scores = {"name": trainer.name}
    model = torch.nn.Linear(1, 1)
    logger = Csv()
    logger.start(folder.partial, {})
    logger.log(EpochMetrics(1, 0.0, 0.0, 0.0, 0.0, 0.0))
    folder.finalize(model, trainer.vocab, scores, Calibration(), completed=completed)


def train(run, name, *, force=False, completed=True):
    """Perform the file operations of training on the folder `run`."""
    folder = RunFolder(Path("run"), force=force)
    trainer = Trainer(run, name)
    folder.create(run.config, run.vocab)
    folder.save_checkpoint(trainer)
    finish(folder, trainer, completed=completed)


def resume(run):
    """Perform the file operations of `train --resume run`."""
    folder = RunFolder(Path("run"), resume=True)
    if not folder.complete():
        folder.list_differences()
        trainer = Trainer(run, "?")
        folder.load_checkpoint(trainer)
        trainer.name = "new"
        folder.save_checkpoint(trainer)
        finish(folder, trainer)


def names():
    """Return the names of all complete runs."""
    found = []
    for path in ("run", "run.partial", "run.partial/replaced/run", "run/replaced/run"):
        try:
            files = RunFiles(Path(path))
            for name in FILES[:3]:
                files[name]
            found.append(json.loads(files["scores.json"])["name"])
        except RunError:
            pass
    return found


def is_clean(name):
    """Return whether the complete run `name` is the only file."""
    optional = {"model.onnx", "embedding.onnx", "values.json", "parts.json"}
    # A lock that cannot be removed stays, but locks nothing.
    entries = {str(path) for path in Path().glob("**/*")} - {"run.partial.lock"}
    return names() == [name] and entries == {"run", *(f"run/{f}" for f in {*FILES} - optional)}


def full_disk():
    return OSError(28, "No space left on device")


SCENARIOS = {
    "a new run": (None, lambda run: train(run, "new")),
    "a run that is replaced": (True, lambda run: train(run, "new", force=True)),
    "an interrupted run that is resumed": (False, resume),
}


@pytest.mark.parametrize("error", [SystemExit, full_disk])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_failure_at_any_file_operation_loses_no_run(scenario, error, desk, trained, monkeypatch):
    run = load_run(trained)
    config, yaml = (
        run.config,
        run.config.to_yaml(),
    )  # Reading and writing YAML takes most of the time.
    monkeypatch.setattr("slotfill.runs.folder.parse_run_config", lambda *_: config)
    monkeypatch.setattr(type(config), "to_yaml", lambda _: yaml)
    completed, action = SCENARIOS[scenario]

    if completed is not None:
        train(run, "old", completed=completed)
        Path("run").rename("old")

    def fresh(name):
        gc.freeze()  # The next collection looks at what is new.
        Path(desk, name).mkdir()
        os.chdir(desk / name)
        if completed is not None:
            shutil.copytree(desk / "old", "run")

    fresh("count")
    with disk(None, None, once=False):
        action(run)
    assert is_clean("new")
    total = Disk.count
    assert total > 20
    for number in range(1, total + 1):
        fresh(str(number))
        with disk(number, error, once=error is full_disk):
            action(run)
        gc.collect()  # A process that ends releases its lock.
        assert names() or completed is None, number
        started = Path("run.partial/checkpoint/state.safetensors").exists() or "new" in names()
        if started or completed is False:
            if not is_clean("new"):
                resume(run)
        else:
            assert "old" in names() or completed is None
            train(run, "new", force=True)
        assert is_clean("new"), number


def test_a_finished_run_that_cannot_be_renamed_is_not_deleted(desk, trained):
    run = load_run(trained)
    rename = Path.rename
    with pytest.MonkeyPatch.context() as patch:

        def fail(self, target):
            raise PermissionError(13, "Permission denied")

        patch.setattr(Path, "rename", fail)
        with pytest.raises(RunError, match=r"run\.partial, which cannot be renamed \(Permission"):
            train(run, "first")
    assert Path.rename is rename
    gc.collect()
    with pytest.raises(UsageError, match=r"^run\.partial exists: resume with --resume run, "):
        RunFolder(Path("run"))
    # Even with --force the old run exists until the new one is finished.
    folder = RunFolder(Path("run"), force=True)
    folder.create(run.config, run.vocab)
    assert names() == ["first"]
    folder.discard()
    assert is_clean("first")


def test_a_name_that_was_taken_is_not_replaced_by_resume(desk, trained):
    run = load_run(trained)
    folder = RunFolder(Path("run"))
    trainer = Trainer(run, "new")
    folder.create(run.config, run.vocab)
    folder.save_checkpoint(trainer)
    Path("run").mkdir()
    Path("run/thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"\(run is in the way\)"):
        finish(folder, trainer)
    with pytest.raises(RunError, match=r"\(run is in the way\)"):
        resume(run)
    Path("run").rename("other")
    resume(run)
    assert names() == ["new"]
    assert Path("other/thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("error", [SystemExit, full_disk])
def test_files_that_are_written_again_are_all_old_or_all_new(error, desk, trained):
    names = ("model.onnx", "calibration.json")
    new = {name: f"new {name}".encode() for name in names}
    seen, total = [], 1
    while len(seen) <= total:
        shutil.copytree(trained, "run")
        files = RunFiles(Path("run"))
        old = {name: files[name] for name in names}
        with disk(len(seen) or None, error, once=error is full_disk):
            files.replace(new)
        total = total if seen else Disk.count
        files = RunFiles(Path("run"))
        seen.append({name: files[name] for name in names})
        files.settle()
        assert {name: Path("run", name).read_bytes() for name in names} == seen[-1]
        assert not [path for path in Path("run").glob("*.new") if path.name[:-4] in names]
        shutil.rmtree("run")
    assert total > 10
    assert old in seen and seen[-1] == new and all(each in (old, new) for each in seen)
