"""Run folders: atomic creation, no overwriting without force, checks when loading, resuming."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TRAINED, Result, write_config

import slotfill
from slotfill import files
from slotfill.config.builtin import load_config
from slotfill.errors import RunError, SlotfillError, UsageError
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.inference.onnx_engine import ONNX
from slotfill.model.network import Network
from slotfill.runs.export import export_run
from slotfill.runs.folder import RunFolder, is_in_use
from slotfill.runs.load import load_run
from slotfill.runs.lock import LockedError
from slotfill.runs.manifest import write_run
from slotfill.runs.train import train
from slotfill.version import FORMAT

FILES = {"config.yaml", "vocab.json", "model.safetensors", "embedding.onnx", "model.onnx"}
FILES |= {"calibration.json", "history.csv", "scores.json", "environment.json", "manifest.json"}


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A copy of the trained run, called `run`, in the current folder."""
    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return Path("run")


def quietly(config, folder, **options):
    return train(config, folder, lambda progress: None, **options)


def tiny(*overrides):
    return load_config("tiny.yaml", overrides)[1]


def as_trained():
    """The config of the run `trained`."""
    return tiny(f"train={TRAINED}")


def test_run_folder_has_readable_files(trained):
    assert {path.name for path in trained.iterdir()} == FILES
    assert len({path.stat().st_mode for path in trained.iterdir()}) == 1
    for name in ("manifest.json", "scores.json", "environment.json"):
        assert json.loads((trained / name).read_text())["format"] == FORMAT
    scores = json.loads((trained / "scores.json").read_text())
    assert set(scores["splits"]) == {"valid", "test"}
    assert scores["splits"]["test"]["overall"]["f1"] > 90, (
        "the tests need a run that has learned its corpus"
    )
    assert set(scores["splits"]["test"]) == set(EvaluationResult.__dataclass_fields__) - {"intent"}
    rows = list(csv.DictReader((trained / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [
        str(number) for number in range(1, scores["epochs"] + 1)
    ]
    assert scores["best_epoch"] == scores["epochs"], "valid is too small to select another"
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["versions"]["slotfill"] == slotfill.__version__
    assert environment["threads"] >= 1


def test_the_saved_config_is_complete_and_trains_the_same_weights(trained, tmp_path):
    _, config = load_config(str(trained / "config.yaml"))
    assert config.to_yaml() == (trained / "config.yaml").read_text()
    quietly(config, RunFolder(tmp_path / "again"))
    assert (tmp_path / "again/model.safetensors").read_bytes() == (
        trained / "model.safetensors"
    ).read_bytes()


def test_the_seed_determines_the_weights(desk):
    files = []
    for number, seed in enumerate((7, 7, 8)):
        path = quietly(
            tiny(f"train.seed={seed}", "train.epochs=1"), RunFolder(Path(f"run{number}"))
        ).path
        files.append((path / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_loaded_run_predicts_the_same_as_after_training(trained):
    tagger = slotfill.load(trained)
    slots = tagger.predict(["leave New York for Oslo please"])[0].slots
    assert [(slot.name, slot.value, slot.start, slot.end) for slot in slots] == [
        ("origin", "New York", 6, 14),
        ("destination", "Oslo", 19, 23),
    ]


def test_existing_run_is_not_overwritten_without_force(desk):
    quietly(tiny(), RunFolder(Path("runs/a")))
    before = {path.name: path.read_bytes() for path in Path("runs/a").iterdir()}
    with pytest.raises(UsageError) as raised:
        RunFolder(Path("runs/a"))
    assert (
        str(raised.value)
        == "runs/a exists: replace it with --force, or choose another with --out DIR"
    )
    assert {path.name: path.read_bytes() for path in Path("runs/a").iterdir()} == before
    quietly(tiny("train.seed=9"), RunFolder(Path("runs/a"), force=True))
    assert {path.name for path in Path("runs/a").iterdir()} == FILES
    assert Path("runs/a/model.safetensors").read_bytes() != before["model.safetensors"]
    assert [path.name for path in Path("runs").iterdir()] == ["a"]


@pytest.mark.parametrize("force", [False, True])
def test_folder_that_is_not_a_run_is_never_replaced(force, run):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    (run / "notes.md").write_text("mine too")
    Path("file").write_text("x")
    Path("half").mkdir()
    Path("half/config.yaml").write_text("mine")
    Path("half.partial").mkdir()
    Path("half.partial/photo.png").write_text("x")
    for path, foreign, inside in (
        ("mine", "mine", "thesis.txt"),
        ("run", "run", "notes.md"),
        ("file", "file", "file"),
        (".", str(Path.cwd()), "file"),
        ("..", None, None),
        ("/", None, None),
    ):
        with pytest.raises(UsageError) as raised:
            RunFolder(Path(path), force=force)
        if foreign:
            expected = (
                f"{foreign} is not a run folder ({inside}), so it is not replaced; choose another"
                " --out"
            )
            assert str(raised.value) == expected
    with pytest.raises(UsageError):
        RunFolder(Path("half"), force=force)
    assert Path("half.partial/photo.png").exists()


def test_runs_are_saved_into_empty_folders_and_links(desk):
    Path("empty").mkdir()
    Path("elsewhere").mkdir()
    Path("link").symlink_to("elsewhere/real")
    for name in ("empty", "link"):
        quietly(tiny("train.epochs=1"), RunFolder(Path(name)))
        assert {path.name for path in Path(name).iterdir()} == FILES
    assert Path("link").is_symlink()
    quietly(tiny("train.epochs=1"), RunFolder(Path("link"), force=True))
    assert Path("link").is_symlink()
    assert [path.name for path in Path("elsewhere").iterdir()] == ["real"]


def test_folder_created_during_training_is_not_replaced(desk, cli):
    def write_there(epoch):
        Path("run").mkdir()
        Path("run/other.txt").write_text("x")

    message = (
        "the finished run is run.partial, which cannot be renamed (run is in the way);"
        " correct that, and then: slotfill train --resume run"
    )
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        train(tiny("train.epochs=1"), RunFolder(Path("run")), on_epoch=write_there)
    assert Path("run/other.txt").read_text() == "x"
    load_run(Path("run.partial"))
    Path("run").rename("other")
    assert cli("train", "--resume", "run").code == 0
    assert {path.name for path in Path("run").iterdir()} == FILES


def test_concurrent_trainings_into_one_folder_do_not_mix(desk):
    first, second = RunFolder(Path("run")), RunFolder(Path("run"))
    config = tiny("train.epochs=1")
    from slotfill.data.vocab import Vocab

    first.create(config, Vocab({"a": 1}, ["O"], "iob2"))
    with pytest.raises(UsageError, match=r"^run\.partial: another process is training there; "):
        quietly(config, second)
    assert Path("run.partial/vocab.json").exists()


@pytest.mark.parametrize(
    "name", ["config.yaml", "vocab.json", "calibration.json", "model.safetensors", *ONNX]
)
def test_run_with_a_removed_file_is_not_loaded(name, run, cli):
    """Neither other weights nor other confidences replace it."""
    (run / name).unlink()
    engine = "torch" if name == "model.safetensors" else "auto"
    hint = "restore it, or train the run again"
    if name in ONNX:
        hint = "write it again with: slotfill export run"
    for command in (["predict", run, "x"], ["evaluate", run]):
        result = cli(*command, "--engine", engine)
        assert result == Result(1, "", f"slotfill: run/{name}: missing; {hint}\n")


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("auto", ["history.csv", "scores.json", "environment.json", "model.safetensors"]),
        ("torch", ["history.csv", "scores.json", "environment.json", *ONNX]),
    ],
)
def test_prediction_needs_only_the_files_of_its_engine(engine, names, run):
    for name in names:
        (run / name).unlink()
    assert slotfill.load(run, engine=engine).predict(["arrive Oslo"])[0].slots[0].value == "Oslo"


@pytest.mark.parametrize("make", [iter, tuple, lambda texts: (text for text in texts)])
def test_texts_of_any_iterable_are_predicted(make, run):
    tagger, texts = slotfill.load(run), ["arrive Oslo", "arrive Lima"]
    assert tagger.predict(make(texts)) == tagger.predict(texts) != []


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ("fly", "str"),
        (b"fly", "bytes"),
        ({"fly": 1}, "dict"),
        ({"fly"}, "set"),
        (None, "NoneType"),
        (["fly", None], "an item of type NoneType"),
        (iter([b"fly"]), "an item of type bytes"),
    ],
)
def test_other_things_than_a_list_of_texts_are_refused(texts, problem, run):
    with pytest.raises(TypeError) as error:
        slotfill.load(run).predict(texts)
    assert str(error.value) == (
        f"predict takes a list of texts, not {problem}: predict(['fly to Oslo'])"
    )


READ = {
    "onnx": ("config.yaml", "vocab.json", "embedding.onnx", "model.onnx"),
    "torch": ("config.yaml", "vocab.json", "model.safetensors"),
}
"""The files that each engine reads."""


def assert_damaged(run, engine, name):
    """Loading `run` is one line that names the damaged file and what to do."""
    with pytest.raises(RunError) as error:
        load_run(run, engine=engine)
    assert re.fullmatch(
        rf"{run}/{name}: damaged, edited or of another run: it does not match manifest.json; "
        rf"(restore it, or train the run again|write it again with: slotfill export {run})",
        str(error.value),
    )
    assert error.value.exit_code == 1


@pytest.mark.parametrize("engine", READ)
def test_flipped_bit_is_detected_in_every_file_that_is_read(engine, run):
    draw = random.Random(0)
    for name in READ[engine]:
        content = (run / name).read_bytes()
        for position in [0, len(content) - 1, *draw.choices(range(len(content)), k=30)]:
            damaged = bytearray(content)
            damaged[position] ^= 1 << draw.randrange(8)
            (run / name).write_bytes(damaged)
            assert_damaged(run, engine, name)
        (run / name).write_bytes(content)
    load_run(run, engine=engine)


def test_flipped_bit_is_detected_in_the_manifest(run):
    content = (run / "manifest.json").read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        (run / "manifest.json").write_bytes(damaged)
        with pytest.raises(RunError) as error:
            load_run(run)
        assert "\n" not in str(error.value)
    (run / "manifest.json").write_bytes(content)
    load_run(run)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
@pytest.mark.parametrize(
    "name", ["config.yaml", "vocab.json", "model.safetensors", "embedding.onnx", "model.onnx"]
)
def test_truncated_file_is_detected(name, share, run):
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: int(share * len(content))])
    assert_damaged(run, "onnx" if name.endswith(".onnx") else "torch", name)


def test_file_of_another_run_is_detected(run):
    """Both runs have the same vocabulary and sizes."""
    shutil.copytree(run, "other")
    _, config = load_config(str(run / "config.yaml"), ["train.seed=7", "train.epochs=1"])
    quietly(config, RunFolder(Path("other"), force=True))
    for name in ("config.yaml", "model.safetensors", "embedding.onnx", "model.onnx"):
        own = (run / name).read_bytes()
        (run / name).write_bytes(Path("other", name).read_bytes())
        assert_damaged(run, "onnx" if name.endswith(".onnx") else "torch", name)
        (run / name).write_bytes(own)


def test_a_run_of_another_format_must_be_trained_again(run, cli):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({"format": 9} | {"new": "key"}))
    assert cli("predict", run, "x") == Result(
        1, "", "slotfill: run: of run format 9, but this version of slotfill reads format "
        f"{manifest['format']}; train it again\n",
    )  # fmt: skip
    (run / "manifest.json").unlink()
    assert cli("predict", run, "x") == Result(
        1, "", "slotfill: run: not a complete run of this version of slotfill (manifest.json is "
        "missing); train it again\n",
    )  # fmt: skip


def test_export_replaces_a_damaged_onnx_file(run, cli):
    (run / "model.onnx").write_bytes(b"")
    result = cli("predict", run, "arrive Oslo")
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert result.err.endswith("write it again with: slotfill export run\n")
    assert cli("export", run).code == 0
    assert cli("predict", run, "arrive Oslo").code == 0


def test_run_predicts_after_an_interrupted_export(run, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    write = files.write_in_folder
    monkeypatch.setattr(
        "slotfill.runs.manifest.write_in_folder",
        lambda path, content: fail() if "model.onnx" in path.name else write(path, content),
    )
    with pytest.raises(OSError, match="No space left"):
        export_run(run)
    assert slotfill.load(run).predict(["arrive Oslo"])[0].slots[0].value == "Oslo"


def test_export_writes_the_same_file_as_training(run, cli):
    original = (run / "model.onnx").read_bytes()
    (run / "model.onnx").unlink()
    result = cli("export", run)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1] == f"run/model.onnx: {len(original) / 1e6:.1f} MB"
    assert (run / "model.onnx").read_bytes() == original


def test_int8_export_is_smaller_and_reports_f1(run, cli, corpus):
    config = Path("wide.yaml")
    config.write_text(
        f"data: {{path: {corpus}}}\nencoder: {{name: recurrent, hidden_size: 64}}\ntrain: {{epochs:"
        " 1}\n"
    )
    assert cli("train", config, "--out", "wide", "--device", "cpu").code == 0
    original = Path("wide/model.onnx").stat().st_size
    result = cli("export", "wide", "--quantize", "int8")
    assert (result.code, result.err) == (0, "")
    _, size, *scores = result.out.splitlines()
    assert re.fullmatch(r"wide/model.onnx: \d\.\d MB", size)
    assert Path("wide/model.onnx").stat().st_size < 0.7 * original
    assert len(scores) in (1, 2)
    for score in scores:
        assert re.fullmatch(r"(valid|test): F1 \d+\.\d\d, before \d+\.\d\d", score)
    assert cli("predict", "wide", "arrive Oslo").code == 0
    assert cli("export", "wide").code == 0
    assert Path("wide/model.onnx").stat().st_size == original


def test_both_engines_predict_the_same(run, cli):
    texts = ["leave New York for Oslo please", "arrive 時間", "", "hello Lima"]
    answers = [
        cli("predict", run, *texts, "--engine", engine) for engine in ("auto", "onnx", "torch")
    ]
    assert [answer.code for answer in answers] == [0, 0, 0]
    assert answers[0].out == answers[1].out == answers[2].out
    scores = [
        cli("evaluate", run, "--json", "--engine", engine).out for engine in ("onnx", "torch")
    ]
    assert scores[0] == scores[1]


def test_missing_engine_files_are_reported(run, cli):
    contents = {path.name: path.read_bytes() for path in run.iterdir()}
    for name in ("manifest.json", *ONNX):
        del contents[name]
    write_run(run, contents, completed=True)
    result = cli("predict", run, "x", "--engine", "onnx")
    assert (result.code, result.err) == (
        2,
        (
            "slotfill: run has no embedding.onnx and model.onnx; write them with: slotfill export"
            " run, or use engine torch\n"
        ),
    )
    assert cli("predict", run, "x").code == 0
    assert "--engine" in cli("predict", run, "x", "--engine", "tpu").err


def test_predicts_without_torch(run):
    code = (
        "import sys, slotfill; slots = slotfill.load('run').predict(['arrive Oslo'])[0].slots;"
        "print(slots[0].value, *{'torch', 'onnx', 'seqeval'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Oslo\n"


def test_unsupported_export_is_reported_and_torch_predicts(run, cli, tmp_path):
    beam = "tagger={name: focus, beam: 2, hidden_size: 4, tag_size: 2}"
    config = tmp_path / "beam.yaml"
    config.write_text((run / "config.yaml").read_text())
    result = cli("train", config, beam, "train.epochs=1", "--out", "beam", "--device", "cpu")
    assert result.code == 0
    assert "Prediction needs torch: its tagger uses beam search, which needs torch." in result.out
    assert not Path("beam/model.onnx").exists()
    assert cli("predict", "beam", "arrive Oslo").code == 0
    result = cli("predict", "beam", "arrive Oslo", "--engine", "onnx")
    reason = "its tagger uses beam search, which needs torch"
    assert (result.code, result.out) == (2, "")
    assert result.err == f"slotfill: beam cannot be exported: {reason}; use engine torch\n"
    result = cli("export", "beam")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith(
        "slotfill: beam cannot be exported, so torch predicts: its tagger uses beam search"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "foo"}, "no engine 'foo' (allowed: auto, onnx, torch)"),
        ({"device": "tpu"}, "no device 'tpu'; did you mean 'cpu'? (allowed: auto, cpu, cuda)"),
        ({"device": None}, "no device None (allowed: auto, cpu, cuda)"),
        *(
            ({"nbest": value}, f"nbest is {value!r}; it must be an integer from 0 to 100")
            for value in (-1, 1.5, "3", 101)
        ),
        (
            {"nbest": 2, "confidence": False},
            "nbest gives readings with their probabilities; omit confidence=False",
        ),
        ({"threshold": "0.7"}, "threshold must be a number from 0 to 1, found '0.7'"),
        ({"intent_threshold": "a"}, "intent_threshold must be a number from 0 to 1, found 'a'"),
        (
            {"thresholds": {"origin": None}},
            "thresholds.origin must be a number from 0 to 1, found None",
        ),
        *(
            (
                {"thresholds": value},
                f"thresholds must be numbers by slot, as {{'city': 0.7}}, found {value!r}",
            )
            for value in (0.5, "origin")
        ),
        (
            {"now": "2026-11-27"},
            "now is '2026-11-27'; it must be a datetime, as datetime(2026, 11, 27)",
        ),
        ({"run": None}, "the path of a file or folder is a text, as 'a.jsonl', not None"),
        ({"run": ""}, "the path of a file or folder is a text, as 'a.jsonl', not ''"),
    ],
)
def test_wrong_arguments_of_load_are_refused(arguments, message, run):
    with pytest.raises(UsageError) as error:
        slotfill.load(**({"run": run} | arguments))
    assert str(error.value) == message


def test_a_stopped_run_says_how_it_is_resumed(desk, cli):
    stopped(tiny(), "a", after=1)
    for command in (["predict", "a.partial", "x"], ["evaluate", "a.partial"], ["evaluate", "a"]):
        assert cli(*command) == Result(
            2, "", f"slotfill: {command[1]} is still training, or was stopped; resume with:"
            " slotfill train --resume a\n",
        )  # fmt: skip


@pytest.mark.parametrize("command", [["predict", "", "x"], ["evaluate", ""], ["diff", "", "run"]])
def test_an_empty_run_is_wrong_use(command, run, cli):
    message = "slotfill: RUN is empty; give the run folder that train wrote\n"
    assert cli(*command) == Result(2, "", message)


def test_missing_run_suggests_the_nearest(trained, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for name in ("taipei", "atis"):
        shutil.copytree(trained, f"runs/{name}")
    Path("notes.txt").write_text("x")
    for wrong, near in (
        ("runs/taipie", "runs/taipei"),
        ("taipei", "runs/taipei"),
        ("runs/atsi", "runs/atis"),
    ):
        result = cli("predict", wrong, "x")
        assert (
            result.err
            == f"slotfill: no run folder {wrong}; did you mean '{near}'? (allowed: runs/atis,"
            " runs/taipei)\n"
        )
        assert result.code == 2
    assert (
        cli("evaluate", "notes.txt").err
        == "slotfill: notes.txt is a file; a run is the folder that `slotfill train` wrote\n"
    )
    result = cli("evaluate", "runs")
    assert (result.code, result.err) == (
        1, "slotfill: runs: not a complete run of this version of slotfill (manifest.json is "
        "missing); train it again\n",
    )  # fmt: skip
    Path("runs/atis").rename("runs/snips.partial")
    assert (
        cli("predict", "runs/snips", "x").err
        == "slotfill: runs/snips is still training, or was stopped; resume with: slotfill train"
        " --resume runs/snips\n"
    )


class Stop(Exception):
    """Ends training like a kill, without cleaning up."""


def stopped(config, path, after):
    """Train `config` into `path`, and be killed when `after` epochs are saved."""

    def report(progress):
        if len(progress.history) == after and progress.epoch > after:
            raise Stop

    with pytest.raises(Stop):
        train(config, RunFolder(Path(path)), report)


def test_resumed_run_has_the_same_weights(desk, trained):
    stopped(as_trained(), "halting", after=3)
    assert {path.name for path in Path("halting.partial").iterdir()} == {
        "config.yaml",
        "vocab.json",
        "environment.json",
        "history.csv",
        "checkpoint",
    }
    assert not Path("halting").exists()
    with pytest.raises(UsageError) as raised:
        RunFolder(Path("halting"))
    assert (
        str(raised.value)
        == "halting.partial exists: resume with --resume halting, replace it with --force, or"
        " choose another with --out DIR"
    )
    # By its final name or by its current name.
    assert RunFolder(Path("halting.partial"), resume=True).out == Path("halting")
    folder = RunFolder(Path("halting"), resume=True)
    outcome = quietly(folder.config, folder)
    assert not outcome.interrupted
    assert {path.name for path in Path("halting").iterdir()} == FILES
    assert not Path("halting.partial").exists()
    for name in ("model.safetensors", "vocab.json"):
        assert Path("halting", name).read_bytes() == (trained / name).read_bytes()
    assert Path("halting/config.yaml").read_text() == as_trained().to_yaml()
    with pytest.raises(UsageError, match=r"^halting has no checkpoint: it was trained to its end$"):
        RunFolder(Path("halting"), resume=True)


def test_interrupted_run_is_complete_and_can_be_resumed(desk, trained):
    def interrupt(progress):
        if progress.epoch == 3 and progress.done == 2:
            raise KeyboardInterrupt

    assert train(as_trained(), RunFolder(Path("halting")), interrupt).interrupted
    assert {path.name for path in Path("halting").iterdir()} == FILES | {"checkpoint"}
    assert json.loads(Path("halting/scores.json").read_text())["epochs"] == 2
    load_run(Path("halting"))
    with pytest.raises(UsageError, match=r"^halting exists: resume with --resume halting, "):
        RunFolder(Path("halting"))
    folder = RunFolder(Path("halting"), resume=True)
    # The saved run does not change until training ends.
    load_run(Path("halting"))
    quietly(folder.config, folder)
    assert {path.name for path in Path("halting").iterdir()} == FILES
    assert (
        Path("halting/model.safetensors").read_bytes()
        == (trained / "model.safetensors").read_bytes()
    )
    assert {path.name for path in Path().iterdir()} == {
        "corpus",
        "tiny.yaml",
        "halting",
    }


def test_a_run_stopped_before_its_first_epoch_leaves_nothing(desk):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(
        RunError, match=r"^interrupted in the first epoch, so there is nothing to save$"
    ):
        train(tiny(), RunFolder(Path("runs/a")), interrupt)
    assert list(Path("runs").iterdir()) == []


@pytest.mark.parametrize("error", [RunError("training worker failed: its process has ended"), None])
def test_failed_training_keeps_its_checkpoint(error, desk, trained, monkeypatch):
    """If a worker is killed or the loss becomes NaN after successful epochs."""
    right = Network.loss

    def fail(progress):
        if progress.epoch == 3:
            if error:
                raise error
            monkeypatch.setattr(Network, "loss", lambda *given: right(*given) * float("nan"))

    with pytest.raises(RunError) as failure:
        train(as_trained(), RunFolder(Path("a")), fail)
    assert str(failure.value).startswith(str(error) if error else "the loss became nan in step ")
    assert str(failure.value).endswith(
        "; the checkpoint of epoch 2 is kept, and changes of a.partial/config.yaml apply: slotfill"
        " train --resume a"
    )
    monkeypatch.setattr(Network, "loss", right)
    folder = RunFolder(Path("a"), resume=True)
    quietly(folder.config, folder)
    for name in ("model.safetensors", "vocab.json"):
        assert Path("a", name).read_bytes() == (trained / name).read_bytes()
    assert Path("a/config.yaml").read_text() == as_trained().to_yaml()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_out_of_memory_is_one_line(error, desk):
    def fail(progress):
        raise error

    with pytest.raises(RunError, match=r"^out of memory: lower train\.batch_size \(\d+\), or"):
        train(tiny(), RunFolder(Path("a")), fail)
    assert not Path("a.partial").exists()


def test_weights_that_overflow_are_not_saved(desk):
    overflow = ["train.learning_rate=3e38", "train.warmup_epochs=0", "train.ema_decay=0.0"]
    config = tiny("train.epochs=1", "train.batch_size=1000", *overflow)
    with pytest.raises(
        RunError, match=r"^the loss or a weight became nan or inf by step 1: lower "
    ):
        quietly(config, RunFolder(Path("a")))
    assert not Path("a").exists() and not Path("a.partial").exists()


def test_run_killed_in_its_first_epoch_can_only_be_replaced(desk):
    def report(progress):
        raise Stop

    with pytest.raises(Stop):
        train(tiny(), RunFolder(Path("a")), report)
    with pytest.raises(
        UsageError, match=r"^a\.partial was stopped in its first epoch; train it again$"
    ):
        RunFolder(Path("a"), resume=True)
    quietly(tiny("train.epochs=1"), RunFolder(Path("a"), force=True))
    assert not Path("a.partial").exists()


def reverse_lines(path):
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


def edit(path, old, new, count=-1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.yaml", "learning_rate: 0.1", "learning_rate: 0.2"),
        ("vocab.json", "Oslo", "Bonn"),
        ("environment.json", '"numpy": "', '"numpy": "9'),
        ("checkpoint/manifest.json", "vocab.json", "vocal.json"),
    ],
)
def test_a_changed_file_of_a_stopped_run_is_an_error_that_names_it(name, old, new, desk, cli):
    def check():
        result = cli("train", "--resume", "a", "--device", "cpu")
        assert result.code == 1 and result.err.startswith(f"slotfill: a.partial/{name}: ")
        assert result.err.count("\n") == 1 and "train the run again" in result.err

    stopped(tiny(), "a", after=1)
    path = Path("a.partial", name)
    edit(path, old, new)
    check()
    path.write_bytes(b"")
    check()
    if path.name != "manifest.json":  # Which earlier versions did not write.
        path.unlink()
        check()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda: Path("a.partial/checkpoint/state.safetensors").write_bytes(b"x" * 100),
            "not a safetensors file",
        ),
        (
            lambda: edit(Path("corpus/train.brackets"), "Oslo", "Bonn"),
            "the training sentences have changed since",
        ),
        (
            lambda: reverse_lines(Path("corpus/train.brackets")),
            "the training sentences have changed since",
        ),
        (
            lambda: edit(Path("corpus/train.brackets"), "origin", "destination", 1),
            "the training sentences have changed since",
        ),
        (
            lambda: reverse_lines(Path("corpus/valid.brackets")),
            "the validation sentences have changed since",
        ),
    ],
)
def test_damaged_checkpoint_is_reported_and_not_changed(damage, message, desk, corpus):
    Path("corpus").unlink()  # A link to that of all tests.
    shutil.copytree(corpus, "corpus")
    stopped(tiny(), "a", after=1)
    damage()
    folder = RunFolder(Path("a"), resume=True)
    with pytest.raises(RunError, match=message) as raised:
        quietly(folder.config, folder)
    assert "\n" not in str(raised.value)
    assert (Path("a.partial") / "checkpoint" / "state.safetensors").exists()


def test_a_run_whose_teacher_has_changed_is_not_resumed(desk, trained):
    shutil.copytree(trained, "teacher")
    stopped(tiny("distil.teachers=[teacher]"), "a", after=1)
    shutil.rmtree("teacher")
    quietly(tiny("train.seed=9"), RunFolder(Path("teacher")))
    folder = RunFolder(Path("a"), resume=True)
    with pytest.raises(RunError, match="the teachers have changed since; restore them, or train"):
        quietly(folder.config, folder)


def test_after_an_error_a_changed_config_applies(desk, cli):
    def fail(epoch):
        raise RunError("the loss became nan")

    with pytest.raises(RunError, match=r"changes of a\.partial/config\.yaml apply"):
        train(tiny(), RunFolder(Path("a")), on_epoch=fail)
    edit(Path("a.partial/config.yaml"), "hidden_size: 8", "hidden_size: 9")
    resume = ("train", "--resume", "a", "--device", "cpu")
    assert "a.partial: the checkpoint does not fit config.yaml (" in cli(*resume).err
    edit(Path("a.partial/config.yaml"), "hidden_size: 9", "hidden_size: 8")
    edit(Path("a.partial/config.yaml"), "learning_rate: 0.1", "learning_rate: 0.2")
    folder = RunFolder(Path("a"), resume=True)
    with pytest.raises(Stop):  # From here on, another rate would go unnoticed again.
        train(folder.config, folder, on_epoch=stop_at_once)
    edit(Path("a.partial/config.yaml"), "learning_rate: 0.2", "learning_rate: 0.1")
    assert cli(*resume).err.startswith("slotfill: a.partial/config.yaml: damaged, edited or ")
    edit(Path("a.partial/config.yaml"), "learning_rate: 0.1", "learning_rate: 0.2")
    assert cli(*resume).code == 0
    assert "learning_rate: 0.2" in Path("a/config.yaml").read_text()


def stop_at_once(epoch):
    raise Stop


def test_a_changed_config_of_an_interrupted_run_is_an_error(desk, cli):
    def interrupt(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    train(tiny(), RunFolder(Path("a")), interrupt)
    edit(Path("a/config.yaml"), "learning_rate: 0.1", "learning_rate: 0.2")
    result = cli("train", "--resume", "a", "--device", "cpu")
    assert result.code == 1 and result.err.startswith("slotfill: a/config.yaml: damaged, edited")


def test_a_run_that_an_earlier_version_has_stopped_is_resumed(desk, trained):
    stopped(as_trained(), "a", after=2)
    Path("a.partial/checkpoint/manifest.json").unlink()
    folder = RunFolder(Path("a"), resume=True)
    quietly(folder.config, folder)
    weights = Path("a/model.safetensors").read_bytes()
    assert weights == (trained / "model.safetensors").read_bytes()


def test_flipped_bit_is_detected_in_the_checkpoint(desk):
    stopped(tiny(), "a", after=1)
    state = Path("a.partial/checkpoint/state.safetensors")
    content = state.read_bytes()
    draw = random.Random(0)
    for position in [0, len(content) - 1, *draw.choices(range(len(content)), k=6)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << draw.randrange(8)
        state.write_bytes(damaged)
        folder = RunFolder(Path("a"), resume=True)
        with pytest.raises(RunError, match=f"^{state}: (damaged|not a safetensors file)") as error:
            quietly(folder.config, folder)
        assert "\n" not in str(error.value)
        folder.release()


def test_run_without_its_data_can_be_evaluated_on_other_data(run, corpus):
    shutil.copytree(corpus, "moved")
    gone = Path("gone")
    shutil.copytree(corpus, gone)
    shutil.rmtree(run)
    quietly(
        load_config(str(write_config(Path("c.yaml"), data=f"{{path: {gone}}}")))[1], RunFolder(run)
    )
    shutil.rmtree(gone)
    assert slotfill.load(run).predict(["arrive Oslo"])[0].slots
    from slotfill.runs.evaluate import evaluate_run

    loaded = load_run(run)
    with pytest.raises(SlotfillError) as raised:
        evaluate_run(loaded)
    assert str(raised.value).startswith("run: was trained with gone, which is gone; give other")
    assert evaluate_run(loaded, path=Path("moved/test.brackets")).sentences == 8


def test_second_training_into_one_folder_is_an_error(trained, tmp_path):
    loaded = load_run(trained)
    first = RunFolder(tmp_path / "a")
    first.create(loaded.config, loaded.vocab)
    (first.partial / "checkpoint" / "state.safetensors").write_bytes(b"")
    for other in (
        lambda: RunFolder(tmp_path / "a", force=True),
        lambda: RunFolder(tmp_path / "a", resume=True),
    ):
        with pytest.raises(UsageError, match="another process is training there"):
            other()
    first.release()
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial"]
    (tmp_path / "a.partial.lock").touch()  # Of a process that was killed.
    second = RunFolder(tmp_path / "a", force=True)
    second.create(loaded.config, loaded.vocab)
    second.discard()
    second.discard()  # Nothing is left to release.
    assert not (tmp_path / "a.partial.lock").exists()


def test_a_run_that_another_process_completes_meanwhile_is_in_use(tmp_path, monkeypatch):
    state = tmp_path / "run.partial" / "checkpoint" / "state.safetensors"
    state.parent.mkdir(parents=True)
    state.touch()
    lock = RunFolder._lock

    def complete(folder):
        folder.partial.rename(folder.out)
        shutil.rmtree(folder.out / "checkpoint")
        lock(folder)

    monkeypatch.setattr(RunFolder, "_lock", complete)
    with pytest.raises(LockedError, match="another process is training there"):
        RunFolder(tmp_path / "run", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "put", [lambda p: p.write_text("mine"), Path.mkdir, lambda p: p.symlink_to("mine")]
)
def test_a_file_of_the_user_with_the_name_of_the_lock_is_not_touched(put, desk, cli):
    lock = Path("a.partial.lock")
    Path("mine").touch()
    stopped(tiny(), "a", after=1)
    put(lock)
    before = lock.lstat()
    for words in (["tiny.yaml", "--out", "a", "--force"], ["--resume", "a"]):
        result = cli("train", *words)
        assert (result.code, result.err) == (
            2, "slotfill: a.partial.lock: not an empty file, as a lock of slotfill is; move it, or"
            " choose another name than a.partial\n",
        )  # fmt: skip
    with pytest.raises(UsageError, match=r"^a\.partial\.lock: not an empty file"):
        is_in_use(Path("a"))
    assert lock.lstat() == before


def test_run_stopped_before_its_first_epoch_does_not_block_its_name(tmp_path):
    (tmp_path / "a.partial" / "checkpoint").mkdir(parents=True)
    RunFolder(tmp_path / "a")
