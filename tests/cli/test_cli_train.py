"""The command `train`: its output, the run folder, interruption and errors."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from conftest import run_on_terminal, start

from slotfill.cli.progress import training_progress
from slotfill.training.progress import EpochMetrics, Progress

FILES = {"config.yaml", "vocab.json", "model.safetensors", "embedding.onnx", "model.onnx"}
FILES |= {"history.csv", "scores.json", "environment.json", "calibration.json", "manifest.json"}
LOG_LINE = re.compile(
    r"epoch (\d+)/\d+: loss \d+\.\d{4}, valid F1 \d+\.\d\d(?: \(best\))?, [\d,]+ tokens/s, at most"
    r" .* left"
)
LONG = ("train.epochs=100000", "train.patience=0")


FEW_VALID_SLOTS = (
    "warning: valid: 20 slots are too few to select an epoch (F1 is uncertain by up to 22 points);"
    " the last epoch is kept"
)


def test_train_logs_one_line_per_epoch_and_the_next_commands(desk, cli):
    result = cli("train", "tiny.yaml", "train.epochs=3", "--seed", "5", "--out", "my runs/a b")
    assert (result.code, result.err) == (0, "")
    warning, *lines = result.out.splitlines()
    assert warning == FEW_VALID_SLOTS
    assert [LOG_LINE.fullmatch(line)[1] for line in lines[:3]] == ["1", "2", "3"]
    assert lines[3].startswith("test: 8 sentences, ")
    assert lines[-3:] == [
        "The run is in my runs/a b. Next:",
        "  slotfill evaluate 'my runs/a b'",
        f"  slotfill predict 'my runs/a b' '{example_from_test()}'",
    ]
    assert {path.name for path in Path("my runs/a b").iterdir()} == FILES
    assert "seed: 5\n" in Path("my runs/a b/config.yaml").read_text()


def test_profile_prints_a_table_of_times(desk, cli):
    result = cli(
        "train", "tiny.yaml", "train.epochs=2", "train.processes=2", "--profile", "--out", "a"
    )
    assert (result.code, result.err) == (0, "")
    shares = re.findall(r"^│ (\S.*?) +│ +\d+\.\d\d │ +(\d+\.\d)% │$", result.out, re.MULTILINE)
    sections = {what for what, _ in shares}
    assert {
        "embedding: word",
        "encoder: recurrent",
        "tagger: crf",
        "backward",
        "validation",
    } <= sections
    assert abs(sum(float(share) for _, share in shares) - 100) < 2
    assert [float(share) for _, share in shares] == sorted(
        (float(share) for _, share in shares), reverse=True
    )
    assert (
        "where the time went" not in cli("train", "tiny.yaml", "train.epochs=1", "--out", "b").out
    )


def example_from_test():
    """The shortest of the test sentences with the most slots."""
    lines = Path("corpus/test.brackets").read_text().splitlines()
    line = max(lines, key=lambda line: (line.count("]("), -len(line.split())))
    return re.sub(r"\[(.*?)\]\(.*?\)", r"\1", line)


def test_the_run_is_named_after_the_config_and_not_overwritten(desk, cli):
    assert cli("train", "tiny.yaml", "train.epochs=1").code == 0
    before = Path("runs/tiny/model.safetensors").read_bytes()
    result = cli("train", "tiny.yaml", "train.epochs=2")
    assert (result.code, result.out) == (2, "")
    assert (
        result.err
        == "slotfill: runs/tiny exists: replace it with --force, or choose another with --out DIR\n"
    )
    assert Path("runs/tiny/model.safetensors").read_bytes() == before
    assert cli("train", "tiny.yaml", "train.seed=2", "--force").code == 0
    assert Path("runs/tiny/model.safetensors").read_bytes() != before
    assert [path.name for path in Path("runs").iterdir()] == ["tiny"]


def test_a_corpus_without_test_is_evaluated_on_valid(desk, cli):
    Path("few").mkdir()
    shutil.copy("corpus/train.brackets", "few/train.brackets")
    result = cli("train", "tiny.yaml", "data.path=few", "train.epochs=1", "data.holdout=0.25")
    assert result.code == 0
    assert "valid: 10 sentences" in result.out
    result = cli(
        "train", "tiny.yaml", "data.path=few/train.brackets", "train.epochs=1", "--out", "one"
    )
    assert result.code == 0
    assert "valid: 4 sentences" in result.out


def test_every_wrong_use_is_one_line(desk, cli):
    Path("bad").mkdir()
    Path("bad/train.conll").write_text("fly O\nto\n")
    Path("file").write_text("x")
    for words, code, message in (
        (["train", "tiny.yaml", "--out", "file"], 2,
         "file is not a run folder (file), so it is not replaced; choose another --out"),
        (["train", "tiny.yaml", "--out", "file/run"], 2,
         "cannot make the run folder file/run.partial: Not a directory"),
        (["train", "tiny.yaml", "--out", "/"], 2, "/ cannot be a run folder; choose another"),
        (["train", "tiny.yaml", "--out", "a.partial"], 2,
         "a.partial cannot be a run folder: a folder is called .partial while its run trains"),
        (["train", "tiny.yaml", "--device", "cuda"], 2,
         "--device cuda: torch sees no CUDA device here; use --device cpu"),
        (["train", "tiny.yaml", "data.path=bad"], 3,
         "bad/train.conll:2: 1 column, but line 1 has 2"),
        (["train", "--resume", "nope"], 2, "no run folder nope (allowed: none)"),
        (["train", "tiny.yaml", "--resume", "nope"], 2,
         "--resume continues a run as it is; omit CONFIG, KEY=VALUE, --out, --seed, --force"),
        (["train", "tiny.yaml", "train.learning_rate=1e38", "train.gradient_clip=0",
          "train.optimizer=sgd"], 1, None),
    ):  # fmt: skip
        result = cli(*words)
        assert result.code == code, result
        assert result.err.startswith(f"slotfill: {message or 'the loss became '}")
        assert result.err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} - {"runs"} == {
        "bad",
        "corpus",
        "file",
        "tiny.yaml",
    }
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_a_read_only_folder_is_one_line(desk, cli, monkeypatch):
    # Root may write anywhere, so the error is simulated.
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", "runs")

    monkeypatch.setattr(Path, "mkdir", refuse)
    result = cli("train", "tiny.yaml")
    assert (result.code, result.err) == (
        2, "slotfill: cannot make the run folder runs/tiny.partial: Permission denied\n",
    )  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_folder_in_which_no_file_can_be_made_is_one_line(desk, cli):
    result = cli("train", "tiny.yaml", "--out", "/proc/x")
    assert (result.code, result.err) == (
        2, "slotfill: cannot make the run folder /proc/x.partial: No such file or directory\n",
    )  # fmt: skip


def test_overrides_alone_apply_to_the_built_in_config(desk, cli):
    result = cli("train", "train.epochs=0")
    assert (result.code, result.err) == (
        2,
        "slotfill: command line: train.epochs: must be at least 1, found 0\n",
    )


def read_until(stream, count):
    """Return the next `count` lines of a process."""
    return [stream.readline().decode() for _ in range(count)]


def test_a_killed_run_resumes_and_ctrl_c_completes_it(desk, cli):
    process = start("train", "tiny.yaml", *LONG, "--out", "a")
    _, *lines = read_until(process.stdout, 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert LOG_LINE.fullmatch(lines[2].strip())
    assert not Path("a").exists()
    assert "checkpoint" in {path.name for path in Path("a.partial").iterdir()}
    result = cli("predict", "a", "x")
    assert (
        result.err
        == "slotfill: a is still training, or was stopped; resume with: slotfill train --resume a\n"
    )

    process = start("train", "--resume", "a")
    _, line = read_until(process.stdout, 2)
    assert int(LOG_LINE.fullmatch(line.strip())[1]) >= 3, "it starts where the checkpoint stands"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert "Stopped; the last epoch so far is kept." in out.decode()
    assert "  slotfill train --resume a\n  slotfill evaluate a\n" in out.decode()
    assert {path.name for path in Path("a").iterdir()} == FILES | {"checkpoint"}
    assert cli("evaluate", "a").code == 0


def interrupt_first_epoch(number, *overrides, file):
    """Train with an epoch of several seconds, and send a signal once `file` is there."""
    Path("long.brackets").write_text(Path("corpus/train.brackets").read_text() * 120)
    train = ("train", "tiny.yaml", "data.train=long.brackets", "train.batch_size=1")
    process = start(*train, *overrides, "--out", "a")
    while not Path("a.partial", file).exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out.decode()) == (1, f"{FEW_VALID_SLOTS}\n")
    return err.decode()


def test_ctrl_c_in_the_first_epoch_leaves_no_run(desk):
    err = interrupt_first_epoch(signal.SIGINT, file="vocab.json")
    assert err == "slotfill: interrupted in the first epoch, so there is nothing to save\n"
    assert {path.name for path in Path().iterdir()} == {"corpus", "tiny.yaml", "long.brackets"}


def test_sigterm_in_the_first_epoch_keeps_a_checkpoint_within_it(desk):
    often = "train.checkpoint_minutes=1e-9"
    err = interrupt_first_epoch(signal.SIGTERM, often, file="checkpoint/state.safetensors")
    assert err == (
        "slotfill: interrupted in the first epoch; the checkpoint within epoch 1 is kept, and"
        " changes of a.partial/config.yaml apply: slotfill train --resume a\n"
    )
    assert Path("a.partial/checkpoint/state.safetensors").exists()


def test_a_terminal_shows_a_progress_bar_and_a_table_of_epochs(desk):
    code, output = run_on_terminal("train", "tiny.yaml", "train.epochs=2")
    assert code == 0
    assert "Reading the sentences ..." in output
    assert "epoch 1 of at most 2" in output
    assert "Ctrl-C: stop, keep the best epoch" in output
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert re.search(r"\s +1 +\d+\.\d{4} ", plain)
    assert re.search(r"\s +2 +\d+\.\d{4} ", plain)
    lines = re.split(r"[\r\n]+", plain.replace(FEW_VALID_SLOTS, "\n"))
    assert max(len(line) for line in lines) <= 80
    assert "\x1b[?25h" in output, "the cursor is shown again"


def test_train_names_slots_that_only_one_split_has(desk, cli):
    text = Path("corpus/valid.brackets").read_text()
    Path("valid.brackets").write_text(text.replace("(destination)", "(Destination)"))
    result = cli("train", "tiny.yaml", "train.epochs=1", "data.valid=valid.brackets")
    assert result.out.splitlines()[1:3] == [
        "warning: valid: slot names that train does not have and the model cannot learn:"
        " 'Destination' (nearest in train: 'destination')",
        "warning: train: slot names that valid does not have: 'destination' (nearest in valid:"
        " 'Destination')",
    ]


def test_train_without_slots_is_one_line_before_training(desk, cli):
    Path("train.brackets").write_text("fly to Rome\n" * 20)
    result = cli("train", "tiny.yaml", "data.train=train.brackets")
    assert (result.code, result.out) == (3, "")
    assert result.err.endswith(
        "train.brackets: none of the 20 training sentences has a slot, so there is nothing to"
        " learn; label the slots in some of them\n"
    )
    assert not Path("runs").exists()


def test_holdout_of_0_trains_on_all_sentences_to_the_last_epoch(desk, cli):
    few = ("data.path=corpus/train.brackets", "data.holdout=0", "train.epochs=3")
    result = cli("train", "tiny.yaml", *few, "--out", "a")
    assert (result.code, result.err) == (0, "")
    assert "There are no valid and no test sentences, so the run has no scores.\n" in result.out
    assert "\nLast epoch 3; " in result.out and "valid F1" not in result.out
    assert "slotfill evaluate" not in result.out
    assert "valid" not in Path("a/history.csv").read_text()
    assert json.loads(Path("a/scores.json").read_text())["splits"] == {}
    assert cli("predict", "a", "fly to Rome").code == 0
    error = "slotfill: the data has no test and no valid sentences to score on; give --data FILE"
    assert cli("evaluate", "a").err == f"{error}, or --split train\n"
    assert cli("evaluate", "a", "--split", "train").code == 0
    assert cli("threshold", "a", "--precision", 0.9).err == (
        "slotfill: a: the run has no valid sentences, which thresholds need; train it again with"
        " data.valid=FILE, or data.holdout=0.1\n"
    )
    result = cli("train", "tiny.yaml", *few, "data.test=corpus/test.brackets", "--out", "b")
    assert "test: 8 sentences" in result.out


def test_many_short_epochs_are_logged_in_part(monkeypatch, capsys):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    with training_progress() as report:
        for epoch in range(1, 93):  # Early stopping in epoch 92 of at most 100.
            row = EpochMetrics(epoch, 1.0, None, 0.001, 10.0, 1.0)
            report(Progress(epoch, 100, 1, 1, 1.0, 10.0, 0.0, [row], None))
    lines = capsys.readouterr().out.splitlines()
    logged = [int(line.removeprefix("epoch ").partition("/")[0]) for line in lines]
    assert logged == [1, *range(5, 91, 5), 92]


def test_processes_that_are_not_used_are_a_warning(desk, cli):
    words = ["tiny.yaml", "train.processes=1000", "train.batch_size=2", "train.epochs=1"]
    result = cli("train", *words, "--out", "a", "--device", "cpu")
    assert result.code == 0
    assert (
        "warning: train.processes: 1000 processes are more than can share a batch here; 2 used\n"
    ) in result.out


def start_launched(*arguments, count=2):
    """Start `slotfill train ARGUMENTS` in `count` processes, as `torchrun` does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"WORLD_SIZE": str(count), "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [start("train", *arguments, env=common | rank) for rank in ranks]


def test_processes_of_torchrun_train_as_forks_do(desk, cli):
    words = ["tiny.yaml", "train.epochs=2", "--device", "cpu", "--out"]
    first, second = start_launched(*words, "a")
    out, err = first.communicate()
    assert (first.returncode, err) == (0, b"") and "epoch 2/2" in out.decode()
    assert second.communicate() == (b"", b"") and second.returncode == 0
    assert cli("train", *words, "b", "train.processes=2").code == 0
    for name in ("model.safetensors", "config.yaml"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


@pytest.mark.parametrize("command", ["train", "distil"])
def test_a_process_of_torchrun_beside_the_first_writes_nothing(command, desk, cli, monkeypatch):
    assisted = []
    monkeypatch.setattr("slotfill.runs.train.assist", assisted.append)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "1")
    result = cli(command, "tiny.yaml", "--device", "cpu")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert assisted == ["cpu"] and not Path("runs").exists()


def test_killed_process_of_torchrun_ends_all_and_the_run_resumes(desk):
    first, second = start_launched("tiny.yaml", *LONG, "--out", "a")
    read_until(first.stdout, 3)
    second.kill()
    second.communicate()
    err = first.communicate()[1].decode()
    assert first.returncode == 1 and err.startswith("slotfill: training worker failed: its process")
    assert err.count("\n") == 1
    first, second = start_launched("--resume", "a")
    read_until(first.stdout, 3)
    first.send_signal(signal.SIGINT)
    assert "Stopped; the last epoch so far is kept." in first.communicate()[0].decode()
    assert (second.communicate(), second.wait()) == ((b"", b""), 1)
