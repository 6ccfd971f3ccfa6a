"""A run folder: whole or not there, never written over unasked, checked when it is loaded."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import slotfill
from slotfill.config.recipes import load_config
from slotfill.errors import RunError, SlotfillError, UsageError
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import load_run
from slotfill.runs.train import train

FILES = {"config.yaml", "vocab.json", "model.safetensors", "embedding.onnx", "model.onnx"}
FILES |= {"history.csv", "scores.json", "environment.json"}


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


def test_a_run_is_six_files_that_people_can_read(trained):
    assert {path.name for path in trained.iterdir()} == FILES
    assert len({path.stat().st_mode for path in trained.iterdir()}) == 1
    for name in ("vocab.json", "scores.json", "environment.json"):
        assert json.loads((trained / name).read_text())["format"] == 2
    with safe_open(trained / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["slotfill"])["format"] == 2
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
    best = max(rows, key=lambda row: float(row["valid_f1"]))
    assert int(best["epoch"]) == scores["best_epoch"]
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


def test_the_seed_decides_the_weights(desk):
    files = []
    for number, seed in enumerate((7, 7, 8)):
        path = quietly(
            tiny(f"train.seed={seed}", "train.epochs=1"), RunFolder(Path(f"run{number}"))
        ).path
        files.append((path / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_a_loaded_run_predicts_what_the_trained_one_did(trained):
    tagger = slotfill.load(trained)
    slots = tagger.predict(["leave New York for Oslo please"])[0].slots
    assert [(slot.name, slot.value, slot.start, slot.end) for slot in slots] == [
        ("origin", "New York", 6, 14),
        ("destination", "Oslo", 19, 23),
    ]


def test_nothing_is_written_over_unasked(desk):
    quietly(tiny(), RunFolder(Path("runs/a")))
    before = {path.name: path.read_bytes() for path in Path("runs/a").iterdir()}
    with pytest.raises(UsageError) as fault:
        RunFolder(Path("runs/a"))
    assert (
        str(fault.value)
        == "runs/a exists: replace it with --force, or choose another with --out DIR"
    )
    assert {path.name: path.read_bytes() for path in Path("runs/a").iterdir()} == before
    quietly(tiny("train.seed=9"), RunFolder(Path("runs/a"), force=True))
    assert {path.name for path in Path("runs/a").iterdir()} == FILES
    assert Path("runs/a/model.safetensors").read_bytes() != before["model.safetensors"]
    assert [path.name for path in Path("runs").iterdir()] == ["a"]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_a_run_is_never_replaced(force, run):
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
        with pytest.raises(UsageError) as fault:
            RunFolder(Path(path), force=force)
        if foreign:
            expected = (
                f"{foreign} is not a run folder ({inside}), so it is not replaced; choose another"
                " --out"
            )
            assert str(fault.value) == expected
    with pytest.raises(UsageError):
        RunFolder(Path("half"), force=force)
    assert Path("half.partial/photo.png").exists()


def test_an_empty_folder_and_a_link_are_written_into(desk):
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


def test_a_folder_that_comes_to_be_meanwhile_is_left_and_the_run_kept(desk):
    folder = RunFolder(Path("run"))
    Path("run").mkdir()
    Path("run/other.txt").write_text("x")
    with pytest.raises(RunError, match=r"the run that was trained is run\.partial$"):
        quietly(tiny("train.epochs=1"), folder)
    assert Path("run/other.txt").read_text() == "x"
    load_run(Path("run.partial"))


def test_two_that_train_into_one_folder_do_not_mix(desk):
    first, second = RunFolder(Path("run")), RunFolder(Path("run"))
    config = tiny("train.epochs=1")
    from slotfill.data.vocab import Vocab

    first.create(config, Vocab({"a": 1}, ["O"], "iob2"))
    with pytest.raises(UsageError, match=r"^run\.partial: another process is training there; "):
        quietly(config, second)
    assert Path("run.partial/vocab.json").exists()


@pytest.mark.parametrize("name", ["config.yaml", "vocab.json", "model.safetensors"])
def test_a_run_without_a_file_it_needs_is_not_whole(name, run, cli):
    (run / name).unlink()
    if name == "model.safetensors":
        assert cli("predict", run, "x").code == 0
        (run / "model.onnx").unlink()
    for command in (["predict", run, "x"], ["evaluate", run]):
        result = cli(*command)
        assert (
            result.err == f"slotfill: run: not a whole run folder: {name} missing; train it again\n"
        )
        assert (result.code, result.out) == (1, "")


@pytest.mark.parametrize(
    "names",
    [
        ["history.csv", "scores.json", "environment.json"],
        ["model.onnx"],
        ["embedding.onnx"],
        ["model.safetensors"],
    ],
    ids=" ".join,
)
def test_a_run_predicts_without_what_is_for_people_or_for_the_other_engine(names, run):
    for name in names:
        (run / name).unlink()
    assert slotfill.load(run).predict(["arrive Oslo"])[0].slots[0].value == "Oslo"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
@pytest.mark.parametrize(
    "name", ["config.yaml", "vocab.json", "model.safetensors", "embedding.onnx", "model.onnx"]
)
def test_a_run_with_a_file_cut_short_is_told_in_one_line(name, share, run):
    whole = (run / name).read_bytes()
    (run / name).write_bytes(whole[: int(share * len(whole))])
    engine = "onnx" if name.endswith(".onnx") else "torch"
    with pytest.raises(RunError) as fault:
        load_run(run, engine=engine)
    assert str(fault.value).startswith(f"run/{name}:")
    assert str(fault.value).endswith(
        "slotfill export run" if engine == "onnx" else "train the run again"
    )
    assert "\n" not in str(fault.value)


def test_the_config_cut_at_any_line_is_not_taken_for_a_whole_one(run):
    lines = (run / "config.yaml").read_text().splitlines(keepends=True)
    for count in range(len(lines)):
        (run / "config.yaml").write_text("".join(lines[:count]))
        with pytest.raises(RunError):
            load_run(run, engine="torch")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def weights(path, change, notes=None):
    with safe_open(path, "pt") as file:
        kept = file.metadata()
    save_file(change(load_file(path)), path, notes or kept)


BROKEN = {
    "a word of the vocabulary changed": (
        lambda run: edit(run / "vocab.json", '"Oslo"', '"Bonn"'),
        (
            "run/vocab.json: not the vocabulary that the weights were trained with; train the run"
            " again"
        ),
    ),
    "a vocabulary of another version": (
        lambda run: edit(run / "vocab.json", '"format": 2', '"format": 1'),
        (
            "run/vocab.json: of format 1; this version of slotfill reads format 2: train the run"
            " again"
        ),
    ),
    "a vocabulary that is a list": (
        lambda run: (run / "vocab.json").write_text("[]"),
        (
            "run/vocab.json: not a whole vocabulary (list indices must be integers or slices, not"
            " str); train the run again"
        ),
    ),
    "a vocabulary that is not UTF-8": (
        lambda run: (run / "vocab.json").write_bytes(b"\xff"),
        "run/vocab.json: not UTF-8, so not what slotfill wrote; train the run again",
    ),
    "a config of another version": (
        lambda run: edit(run / "config.yaml", "version: 1", "version: 7"),
        (
            "run/config.yaml:1: version: 7, but this version of slotfill reads version 1; mend it, or"
            " train the run again"
        ),
    ),
    "a config with a fault": (
        lambda run: edit(run / "config.yaml", "hidden_size: 8", "hidden_size: none"),
        (
            "run/config.yaml:33: encoder.hidden_size: must be a whole number, found 'none'; "
            "mend it, or train the run again"
        ),
    ),
    "a config of another size": (
        lambda run: edit(run / "config.yaml", "hidden_size: 8", "hidden_size: 9"),
        (
            "run/model.safetensors: the weights do not fit config.yaml (size mismatch for"
            " encoders.0.layers.0.input_weight: copying a param with shape torch.Size([2, 8, 32])"
            " from checkpoint, the shape in current model is torch.Size([2, 8, 36]).); train the"
            " run again"
        ),
    ),
    "weights of another shape": (
        lambda run: weights(
            run / "model.safetensors",
            lambda found: found | {"tagger.linear.bias": found["tagger.linear.bias"][1:]},
        ),
        (
            "run/model.safetensors: the weights do not fit config.yaml (size mismatch for"
            " tagger.linear.bias: copying a param with shape torch.Size([4]) from checkpoint, the"
            " shape in current model is torch.Size([5]).); train the run again"
        ),
    ),
    "weights of which one is missing": (
        lambda run: weights(
            run / "model.safetensors",
            lambda found: {name: found[name] for name in found if "bias" not in name},
        ),
        None,
    ),
    "weights of another version": (
        lambda run: weights(
            run / "model.safetensors", lambda found: found, {"slotfill": '{"format": 1}'}
        ),
        (
            "run/model.safetensors: of format 1; this version of slotfill reads format 2: train"
            " the run again"
        ),
    ),
    "weights that are not weights": (
        lambda run: (run / "model.safetensors").write_text("hello, these are no weights"),
        None,
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_run_is_told_in_one_line(kind, run):
    spoil, message = BROKEN[kind]
    spoil(run)
    with pytest.raises(RunError) as fault:
        load_run(run, engine="torch")
    assert str(fault.value) == (message or str(fault.value))
    assert str(fault.value).startswith("run/")
    assert "\n" not in str(fault.value)
    assert fault.value.exit_code == 1


def about(run, change):
    model = onnx.load(run / "model.onnx")
    (entry,) = model.metadata_props
    entry.value = json.dumps(json.loads(entry.value) | change)
    onnx.save(model, run / "model.onnx")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: edit(run / "vocab.json", '"Oslo"', '"Bonn"'), "made for another vocabulary"),
        (
            lambda run: about(run, {"format": 1}),
            "of format 1; this version of slotfill reads format 2",
        ),
        (lambda run: (run / "model.onnx").write_bytes(b""), None),
        (lambda run: onnx.save(onnx.ModelProto(), run / "model.onnx"), None),
    ],
)
def test_a_broken_model_for_onnx_is_told_in_one_line_and_made_again(spoil, message, run, cli):
    spoil(run)
    result = cli("predict", run, "arrive Oslo")
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    file = "embedding" if message == "made for another vocabulary" else "model"
    assert result.err.startswith(
        f"slotfill: run/{file}.onnx: {message or 'not what slotfill wrote ('}"
    )
    assert result.err.endswith("make it again with: slotfill export run\n")
    if message != "made for another vocabulary":
        assert cli("export", run).code == 0
        assert cli("predict", run, "arrive Oslo").code == 0


def test_export_writes_what_training_wrote(run, cli):
    whole = (run / "model.onnx").read_bytes()
    (run / "model.onnx").unlink()
    result = cli("export", run)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1] == f"run/model.onnx: {len(whole) / 1e6:.1f} MB"
    assert (run / "model.onnx").read_bytes() == whole


def test_8_bits_are_smaller_and_their_f1_is_told(run, cli, corpus):
    config = Path("wide.yaml")
    config.write_text(
        f"data: {{path: {corpus}}}\nencoder: {{name: recurrent, hidden_size: 64}}\ntrain: {{epochs:"
        " 1}\n"
    )
    assert cli("train", config, "--out", "wide", "--device", "cpu").code == 0
    whole = Path("wide/model.onnx").stat().st_size
    result = cli("export", "wide", "--quantize", "int8")
    assert (result.code, result.err) == (0, "")
    _, size, *scores = result.out.splitlines()
    assert re.fullmatch(r"wide/model.onnx: \d\.\d MB", size)
    assert Path("wide/model.onnx").stat().st_size < 0.7 * whole
    assert len(scores) in (1, 2)
    for score in scores:
        assert re.fullmatch(r"(valid|test): F1 \d+\.\d\d, \d+\.\d\d before", score)
    assert cli("predict", "wide", "arrive Oslo").code == 0
    assert cli("export", "wide").code == 0
    assert Path("wide/model.onnx").stat().st_size == whole


def test_both_engines_give_the_same(run, cli):
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


def test_an_engine_that_is_not_there_is_told(run, cli):
    (run / "model.onnx").unlink()
    result = cli("predict", run, "x", "--engine", "onnx")
    assert (result.code, result.err) == (
        2,
        (
            "slotfill: run has no embedding.onnx and model.onnx; make them with: slotfill export"
            " run, or take engine torch\n"
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


def test_what_cannot_be_exported_is_said_and_torch_predicts(run, cli, tmp_path):
    beam = "tagger={name: focus, beam: 2, hidden_size: 4, tag_size: 2}"
    config = tmp_path / "beam.yaml"
    config.write_text((run / "config.yaml").read_text())
    result = cli("train", config, beam, "train.epochs=1", "--out", "beam", "--device", "cpu")
    assert result.code == 0
    assert "Prediction needs torch: its tags come from a search" in result.out
    assert not Path("beam/model.onnx").exists()
    assert cli("predict", "beam", "arrive Oslo").code == 0
    result = cli("export", "beam")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith(
        "slotfill: beam cannot be exported, so torch predicts: its tags come from a search"
    )


def test_a_run_that_is_not_there_is_told_the_nearest(trained, tmp_path, monkeypatch, cli):
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
        1, "slotfill: runs: not a whole run folder: config.yaml, vocab.json, model.safetensors missing; "
        "train it again\n",
    )  # fmt: skip
    Path("runs/atis").rename("runs/snips.partial")
    assert (
        cli("predict", "runs/snips", "x").err
        == "slotfill: runs/snips is still training, or was stopped; go on with: slotfill train"
        " --resume runs/snips\n"
    )


class Stop(Exception):
    """Ends training as a kill would: nothing is tidied up."""


def stopped(config, path, after):
    """Train `config` into `path`, and be killed when `after` epochs are saved."""

    def report(progress):
        if len(progress.history) == after and progress.epoch > after:
            raise Stop

    with pytest.raises(Stop):
        train(config, RunFolder(Path(path)), report)


def test_a_stopped_run_goes_on_to_the_same_weights(desk):
    quietly(tiny(), RunFolder(Path("straight")))
    stopped(tiny(), "halting", after=3)
    assert {path.name for path in Path("halting.partial").iterdir()} == {
        "config.yaml",
        "vocab.json",
        "checkpoint",
    }
    assert not Path("halting").exists()
    with pytest.raises(UsageError) as fault:
        RunFolder(Path("halting"))
    assert (
        str(fault.value)
        == "halting.partial exists: go on with --resume halting, replace it with --force, or choose"
        " another with --out DIR"
    )
    # By the name it will have, or by the one it has.
    assert RunFolder.resume(Path("halting.partial"))[0].out == Path("halting")
    folder, config = RunFolder.resume(Path("halting"))
    outcome = quietly(config, folder, resume=True)
    assert not outcome.interrupted
    assert {path.name for path in Path("halting").iterdir()} == FILES
    assert not Path("halting.partial").exists()
    for name in ("model.safetensors", "vocab.json", "config.yaml"):
        assert Path("halting", name).read_bytes() == Path("straight", name).read_bytes()
    with pytest.raises(UsageError, match=r"^halting has no checkpoint: it was trained to its end$"):
        RunFolder.resume(Path("halting"))


def test_an_interrupted_run_is_whole_and_goes_on_too(desk):
    def interrupt(progress):
        if progress.epoch == 3 and progress.done == 2:
            raise KeyboardInterrupt

    quietly(tiny(), RunFolder(Path("straight")))
    assert train(tiny(), RunFolder(Path("halting")), interrupt).interrupted
    assert {path.name for path in Path("halting").iterdir()} == FILES | {"checkpoint"}
    assert json.loads(Path("halting/scores.json").read_text())["epochs"] == 2
    load_run(Path("halting"))
    with pytest.raises(UsageError, match=r"^halting exists: go on with --resume halting, "):
        RunFolder(Path("halting"))
    folder, config = RunFolder.resume(Path("halting"))
    # Until the end nothing happens to what was saved.
    load_run(Path("halting"))
    quietly(config, folder, resume=True)
    assert {path.name for path in Path("halting").iterdir()} == FILES
    assert (
        Path("halting/model.safetensors").read_bytes()
        == Path("straight/model.safetensors").read_bytes()
    )
    assert {path.name for path in Path().iterdir()} == {
        "corpus",
        "tiny.yaml",
        "straight",
        "halting",
    }


def test_a_run_stopped_before_its_first_epoch_leaves_nothing(desk):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(
        RunError, match=r"^stopped before the first epoch was done, so there is nothing to save$"
    ):
        train(tiny(), RunFolder(Path("runs/a")), interrupt)
    assert list(Path("runs").iterdir()) == []


def test_a_run_killed_in_its_first_epoch_cannot_go_on_but_be_replaced(desk):
    def report(progress):
        raise Stop

    with pytest.raises(Stop):
        train(tiny(), RunFolder(Path("a")), report)
    with pytest.raises(
        UsageError, match=r"^a\.partial was stopped in its first epoch; train it anew$"
    ):
        RunFolder.resume(Path("a"))
    quietly(tiny("train.epochs=1"), RunFolder(Path("a"), force=True))
    assert not Path("a.partial").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda run: (run / "checkpoint/state.safetensors").write_bytes(b"x" * 100),
            "cut short or not what slotfill",
        ),
        (
            lambda run: edit(run / "config.yaml", "hidden_size: 8", "hidden_size: 9"),
            "the checkpoint does not fit",
        ),
        (
            lambda run: edit(run / "vocab.json", "Oslo", "Bonn"),
            "the training sentences have changed since",
        ),
    ],
)
def test_a_spoilt_checkpoint_is_told_and_left_alone(spoil, message, desk):
    stopped(tiny(), "a", after=1)
    spoil(Path("a.partial"))
    folder, config = RunFolder.resume(Path("a"))
    with pytest.raises(RunError, match=message) as fault:
        quietly(config, folder, resume=True)
    assert "\n" not in str(fault.value)
    assert (Path("a.partial") / "checkpoint" / "state.safetensors").exists()


def test_the_data_of_a_run_may_go_but_then_it_is_scored_on_other_data(run, corpus):
    shutil.copytree(corpus, "moved")
    edit(run / "config.yaml", str(corpus), str(corpus) + "-gone")
    assert slotfill.load(run).predict(["arrive Oslo"])[0].slots
    from slotfill.runs.evaluate import evaluate_run

    loaded = load_run(run)
    with pytest.raises(SlotfillError) as fault:
        evaluate_run(loaded)
    assert (
        str(fault.value)
        == f"{corpus}-gone: no such file or folder, though data.path of the config names it"
    )
    assert evaluate_run(loaded, path=Path("moved/test.brackets")).sentences == 8


def test_two_trainings_do_not_write_into_one_folder(trained, tmp_path):
    from slotfill.errors import UsageError
    from slotfill.runs.folder import RunFolder

    loaded = load_run(trained)
    first = RunFolder(tmp_path / "a")
    first.create(loaded.config, loaded.vocab)
    (first.partial / "checkpoint" / "state.safetensors").write_bytes(b"")
    for other in (
        lambda: RunFolder(tmp_path / "a", force=True),
        lambda: RunFolder.resume(tmp_path / "a"),
    ):
        with pytest.raises(UsageError, match="another process is training there"):
            other()
    first.discard()
    RunFolder(tmp_path / "a").create(loaded.config, loaded.vocab)


def test_a_run_that_stopped_before_its_first_epoch_is_not_in_the_way(tmp_path):
    from slotfill.runs.folder import RunFolder

    (tmp_path / "a.partial" / "checkpoint").mkdir(parents=True)
    RunFolder(tmp_path / "a")
