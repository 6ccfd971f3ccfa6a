"""slotfill tune: settings, saved trials, resuming, and never reading the test split."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import start, write_config

from slotfill.config.builtin import load_config
from slotfill.config.validate import parse_config
from slotfill.lab.tune import search as tune
from slotfill.lab.tune.search import open_study, plan

RANGES = (
    "{train.learning_rate: {low: 0.001, high: 0.1, log: true}, encoder.hidden_size: {low: 4, high:"
    " 16, step: 4}, tagger.dropout: {low: 0, high: 0.5}, encoder.cell: [lstm, {name: gru}]}"
)
OUT = Path("tuned/tiny")
FAST = "train.epochs=2"


@pytest.fixture
def desk(desk):
    """The current folder, with ranges in its `tiny.yaml`."""
    write_config(desk / "tiny.yaml", tune=RANGES)
    return desk


def tune_json(cli, *words, code=0):
    """The JSON output of the command."""
    result = cli("tune", "tiny.yaml", *words, "--json")
    assert result.code == code, result.err
    return json.loads(result.out)


def steady(report):
    """The parts of trials that do not depend on the clock, in order."""
    trials = sorted(report["trials"], key=lambda trial: trial["number"])
    return [(trial["state"], trial["settings"], trial["curves"], trial["f1"]) for trial in trials]


_UNINTERRUPTED: list[object] = []


@pytest.fixture
def uninterrupted(desk, cli):
    """The steady parts of three trials that nothing has stopped, trained once."""
    if not _UNINTERRUPTED:
        words = (FAST, "--trials", "3", "--out", "uninterrupted")
        _UNINTERRUPTED.extend(steady(tune_json(cli, *words)))
    return _UNINTERRUPTED


def test_trials_are_within_the_ranges_and_the_first_is_the_baseline(desk, cli):
    report = tune_json(cli, FAST, "--trials", "4")
    trials = {trial["number"]: trial for trial in report["trials"]}
    assert sorted(trials) == [1, 2, 3, 4]
    assert trials[1]["settings"] == {
        "train.learning_rate": 0.1,
        "encoder.hidden_size": 8,
        "tagger.dropout": 0.1,
        "encoder.cell": "lstm",
    }
    for trial in trials.values():
        settings = trial["settings"]
        assert 0.001 <= settings["train.learning_rate"] <= 0.1
        assert settings["encoder.hidden_size"] in (4, 8, 12, 16) and isinstance(
            settings["encoder.hidden_size"], int
        )
        assert 0 <= settings["tagger.dropout"] <= 0.5
        assert settings["encoder.cell"] in ("lstm", {"name": "gru"})
        assert [len(curve) for curve in trial["curves"]] == [2]
        # The split is too small to rank epochs, so training keeps the last one.
        assert trial["f1"] == trial["f1s"][0] == trial["curves"][0][-1]
    f1s = [trial["f1"] for trial in report["trials"]]
    assert f1s == sorted(f1s, reverse=True) and f1s[0] == report["best"]["f1"]
    lines = (OUT / "study.journal").read_text().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_the_best_config_is_complete_and_trains_to_its_f1(desk, cli):
    report = tune_json(cli, FAST, "--trials", "3", "tune.encoder.hidden_size=[12, 16]")
    best = report["trials"][0]
    path = OUT / "best.yaml"
    assert report["best"] == {"config": path.as_posix(), "trial": best["number"], "f1": best["f1"]}
    text = path.read_text()
    assert (
        text.startswith("# Written by slotfill tune: trial ")
        and "tune:" not in text.split("version: 1")[1]
    )
    settings = [f"{key}={json.dumps(value)}" for key, value in best["settings"].items()]
    assert (
        load_config(str(path))[1].to_yaml()
        == load_config("tiny.yaml", [FAST, *settings])[1].to_yaml()
    )
    result = cli("train", path)
    assert (result.code, result.err) == (0, "")
    assert (
        json.loads(Path("runs/best/scores.json").read_text())["splits"]["valid"]["overall"]["f1"]
        == best["f1"]
    )


def test_a_resumed_study_gives_the_same_trials(uninterrupted, cli):
    tune_json(cli, FAST, "--trials", "1")
    before = (OUT / "study.journal").read_bytes()
    report = tune_json(cli, FAST, "--trials", "1")
    assert (OUT / "study.journal").read_bytes() == before and len(report["trials"]) == 1
    assert steady(tune_json(cli, FAST, "--trials", "3")) == uninterrupted
    other = tune_json(cli, FAST, "--trials", "2", "--seed", "2", "--out", "other")
    assert steady(other)[1][1] != uninterrupted[1][1]


def test_a_stopped_trial_is_repeated_with_its_settings(uninterrupted, cli):
    search = plan("tiny.yaml", [FAST])
    kept = signal.getsignal(signal.SIGINT)
    for stopped in ("trial 1", "trial 2"):

        def report(line, progress, stopped=stopped):
            if progress is not None and line.startswith(stopped) and progress.epoch == 2:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            tune.run_trials(search, open_study(search), 3, report)
    assert signal.getsignal(signal.SIGINT) is kept
    assert [trial.state for trial in open_study(search).trials()] == ["stopped", "stopped"]
    assert steady(tune_json(cli, FAST, "--trials", "3")) == uninterrupted


def start_search(*words):
    """A search in another process that is training its first, long trial."""
    Path("long.brackets").write_text(Path("corpus/train.brackets").read_text() * 10)
    write_config(
        Path("long.yaml"), data="{train: long.brackets, valid: corpus/valid.brackets}", tune=RANGES
    )
    process = start("tune", "long.yaml", "train.epochs=1000", *words, start_new_session=True)
    line = process.stdout.readline()
    assert line.startswith(b"trial 1: train.learning_rate="), process.stderr.read()
    return process


def test_ctrl_c_says_how_to_resume(desk):
    process = start_search("--trials", "3")
    time.sleep(0.1)  # Until it trains.
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    out, err = process.communicate(timeout=20)
    assert (
        err == b"slotfill: stopped; 0 of 3 trials are finished; run the same command to continue\n"
    )
    assert process.returncode == 130
    assert out.endswith(b"No trial has ended yet.\n")
    assert not Path("tuned/long/best.yaml").exists()


def test_a_trial_of_a_killed_process_is_repeated(desk):
    process = start_search("--trials", "3")
    process.send_signal(signal.SIGSTOP)  # It lives, and takes no time.
    study = open_study(plan("long.yaml", ["train.epochs=1000"]))
    assert study.count_started() == 1
    process.kill()
    process.communicate()
    killed = study.trials()
    assert study.count_started() == 0
    assert [trial.state for trial in killed + study.trials()] == ["running", "stopped"]
    assert study.ask(3).settings == killed[0].settings


@pytest.fixture
def open_run():
    """The names of all files that are opened."""
    names, is_active = [], [True]
    # Audit hooks cannot be removed, so this one is disabled by a flag.
    sys.addaudithook(
        lambda event, arguments: (
            names.append(str(arguments[0])) if event == "open" and is_active else None
        )
    )
    yield names
    is_active.clear()


def test_the_test_split_is_never_opened(desk, cli, open_run):
    tune_json(cli, FAST, "--trials", "2")
    assert (OUT / "best.yaml").exists()
    assert any(name.endswith("valid.brackets") for name in open_run)
    assert not any(name.endswith("test.brackets") for name in open_run)
    assert cli("train", "tiny.yaml", FAST).code == 0
    assert any(name.endswith("test.brackets") for name in open_run)


@pytest.mark.parametrize("broken", ["broken", "gone", "elsewhere"])
def test_broken_or_missing_test_sentences_do_not_matter(broken, desk, cli):
    shutil.copytree(Path("corpus").resolve(), "own")
    data = {"path": "own"}
    if broken == "broken":
        Path("own/test.brackets").write_text("fly to [Oslo(destination\n")
    else:
        Path("own/test.brackets").unlink()
    if broken == "elsewhere":
        data["test"] = "nowhere.brackets"
    write_config(Path("tiny.yaml"), data=json.dumps(data), tune=RANGES)
    report = tune_json(cli, FAST, "--trials", "1")
    assert report["trials"][0]["state"] == "finished"
    # The best config names them as the config did, for training.
    named = parse_config((OUT / "best.yaml").read_text(), "best.yaml").data.test
    assert named == (str(desk / "nowhere.brackets") if broken == "elsewhere" else None)


def test_bad_trials_are_pruned_after_the_startup_trials(desk, cli):
    words = ["tune.train.learning_rate=[0.1, 1.0e-9]", "train.epochs=3", "--trials", "9"]
    trials = sorted(tune_json(cli, *words)["trials"], key=lambda trial: trial["number"])
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned and all(trial["number"] > 5 for trial in pruned)
    assert 1e-9 in [trial["settings"]["train.learning_rate"] for trial in pruned]
    for trial in trials:
        (curve,) = trial["curves"]
        assert len(curve) < 3 if trial in pruned else len(curve) == 3
        assert (trial["f1"] is None) == (trial in pruned)


def test_f1_is_the_mean_over_the_seeds(desk, cli):
    one = tune_json(cli, FAST, "--trials", "1", "--out", "one")["trials"][0]
    next_seed = tune_json(cli, FAST, "--trials", "1", "--seed", "2", "--out", "next")["trials"][0]
    both = tune_json(cli, FAST, "--trials", "1", "--seeds", "2")["trials"][0]
    assert both["curves"] == [*one["curves"], *next_seed["curves"]]
    assert both["f1"] == pytest.approx((one["f1"] + next_seed["f1"]) / 2)


@pytest.mark.parametrize(
    "storage", ["shared.journal", pytest.param("sqlite:///shared.db", marks=pytest.mark.slow)]
)
def test_two_processes_share_a_study(storage, desk):
    words = ["tune", "tiny.yaml", FAST, "--trials", "4", "--storage", storage]
    machines = [start(*words, "--out", f"{folder}/tiny") for folder in ("here", "there")]
    ends = [(*machine.communicate(timeout=120), machine.returncode) for machine in machines]
    for out, err, code in ends:
        assert (code, err) == (0, b"")
        assert b"\n4 trials: " in out
    assert b"\n4 trials: 4 finished.\n" in ends[0][0] + ends[1][0]
    numbers = [set(re.findall(rb"trial (\d): valid F1", out)) for out, _, _ in ends]
    assert numbers[0] | numbers[1] == {b"1", b"2", b"3", b"4"} and not numbers[0] & numbers[1]
    assert Path("here/tiny/best.yaml").exists() and Path("there/tiny/best.yaml").exists()


def test_a_study_in_a_database(desk, cli):
    words = [FAST, "--storage", "sqlite:///study.db"]
    report = tune_json(cli, *words, "--trials", "2")
    assert report["storage"] == "sqlite:///study.db" and not (OUT / "study.journal").exists()
    assert steady(tune_json(cli, *words, "--trials", "3"))[:2] == steady(report)
    Path("other.db").write_bytes(b"no database" * 100)
    result = cli("tune", "tiny.yaml", "--storage", "sqlite:///other.db")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.endswith("the study cannot be read or written: file is not a database\n")
    result = cli("tune", "tiny.yaml", "--storage", "nothing://me:secret@server/x")
    assert (result.code, result.err.count("\n"), "secret" in result.err) == (2, 1, False)


def test_a_failed_trial_does_not_end_the_study(desk, cli):
    hot = ["train.optimizer=sgd", "train.warmup_epochs=0", "train.gradient_clip=0", FAST]
    report = tune_json(cli, *hot, "tune.train.learning_rate=[0.1, 1.0e+38]", "--trials", "4")
    states = {
        trial["settings"]["train.learning_rate"]: trial["state"] for trial in report["trials"]
    }
    assert states == {0.1: "finished", 1e38: "failed"}
    assert all(
        trial["error"].startswith("the loss became") for trial in report["trials"] if trial["error"]
    )
    result = cli(
        "tune",
        "tiny.yaml",
        *hot,
        "tune.train.learning_rate=[1.0e+38, 1.1e+38]",
        "--trials",
        "2",
        "--out",
        "b",
    )
    assert (result.code, result.err) == (1, "slotfill: no trial finished\n")
    assert result.out.endswith("2 trials: 2 failed.\n") and not Path("b/best.yaml").exists()


def test_conflicting_settings_are_a_failed_trial(desk, cli):
    cells = "tune.encoder.cell=[{name: lstm, coupled: true, forget_gate: false}, gru]"
    report = tune_json(cli, FAST, cells, "--trials", "4")
    errors = {
        json.dumps(trial["settings"]["encoder.cell"]): trial["error"] for trial in report["trials"]
    }
    assert errors['"gru"'] is None
    assert any(
        error and error.startswith("encoder.cell.coupled: needs both") for error in errors.values()
    )


def test_errors_in_ranges_have_their_line_in_every_command(desk, cli):
    Path("c.yaml").write_text("tune:\n  train.epochs: {low: 1}\ndata: {path: corpus}\n")
    for command in ("tune", "check", "train"):
        result = cli(command, "c.yaml")
        message = "slotfill: c.yaml:2: tune.train.epochs.high: is needed and not given\n"
        assert (result.code, result.out, result.err) == (2, "", message)
    assert not Path("tuned").exists()


def test_other_commands_ignore_the_ranges(desk, cli):
    result = cli("train", "tiny.yaml", FAST)
    assert result.code == 0
    assert result.err == "slotfill: the search space under tune: is ignored by train\n"
    assert "tune" not in Path("runs/tiny/config.yaml").read_text()
    assert "tune" not in cli("show", "tiny.yaml").out
    result = cli("check", "tiny.yaml")
    assert (result.code, result.err) == (0, "") and "tune" not in result.out


def test_a_study_of_another_config_is_not_resumed(desk, cli):
    tune_json(cli, FAST, "--trials", "1")
    before = (OUT / "study.journal").read_bytes()
    for words, what in [
        (["train.epochs=4"], "train.epochs 2, not 4"),
        ([FAST, "--seeds", "2"], "seeds 1, not 2"),
        (
            [FAST, "tune.tagger.dropout={low: 0, high: 0.6}"],
            "tune.tagger.dropout.high 0.5, not 0.6",
        ),
    ]:
        result = cli("tune", "tiny.yaml", *words, "--trials", "2")
        message = (
            f"{OUT}/study.journal: the study 'tiny' was started with {what}; choose another --out"
            " or --storage"
        )
        assert (result.code, result.out, result.err) == (2, "", f"slotfill: {message}\n")
    shutil.copytree(Path("corpus").resolve(), "other")
    Path("other/valid.brackets").write_text("hello\n")
    result = cli("tune", "tiny.yaml", FAST, "data.path=other")
    assert ": the sentences of valid have changed; choose" in result.err
    assert (OUT / "study.journal").read_bytes() == before


def test_files_of_the_user_are_not_overwritten(desk, cli):
    OUT.mkdir(parents=True)
    (OUT / "best.yaml").write_text("train: {epochs: 2}\n")
    result = cli("tune", "tiny.yaml")
    assert (
        result.err
        == f"slotfill: {OUT}/best.yaml: already exists and is not from slotfill tune; choose"
        " another --out\n"
    )
    assert ((OUT / "best.yaml").read_text(), result.code) == ("train: {epochs: 2}\n", 2)
    Path("notes.txt").write_text("mine\n")
    result = cli("tune", "tiny.yaml", "--storage", "notes.txt", "--out", "b")
    assert result.err == "slotfill: notes.txt: already exists and is not a study; choose another\n"
    assert (Path("notes.txt").read_text(), result.code) == ("mine\n", 2)


@pytest.mark.parametrize("name", ["best.yaml", "study.journal"])
def test_no_file_of_a_study_is_written_through_a_link(name, desk, cli):
    OUT.mkdir(parents=True)
    (OUT / name).symlink_to(Path("outside").absolute())
    result = cli("tune", "tiny.yaml")
    assert result.code == 2 and f"{OUT}/{name}: is a link" in result.err
    assert not Path("outside").exists()


def test_without_valid_sentences_there_is_nothing_to_tune_on(desk, cli):
    data = "{train: corpus/train.brackets, holdout: 0}"
    write_config(Path("all.yaml"), data=data, tune=RANGES)
    result = cli("tune", "all.yaml")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "no split 'valid'; set data.valid=FILE" in result.err and not Path("tuned").exists()


def test_usage_errors_are_one_line(desk, cli):
    write_config(Path("plain.yaml"))
    for words, message in [
        (
            ["plain.yaml"],
            (
                "plain.yaml: no search space; set the keys to try, for example tune:"
                " {train.learning_rate: "
            ),
        ),
        (["data.path=corpus"], "corpus: no search space; "),
        (["train.epochs=1"], "taipei: no search space; "),
        (
            ["tiny.yaml", "--out", "tiny.yaml"],
            "--out tiny.yaml: is a file; give the folder for the study",
        ),
        (
            ["tiny.yaml", "--storage", "no/x.journal"],
            "no/x.journal: there is no such folder to write it in",
        ),
        (["tiny.yaml", "--storage", "."], ".: is a folder"),
        (
            ["tiny.yaml", "--storage", "sqlite://"],
            "--storage sqlite://: names no file, as sqlite:///study.db does",
        ),
        (["tiny.yaml", "--storage", "sqlite:///:memory:"], ":memory:: names no file"),
        (["tiny.yaml", "--trials", "0"], "Invalid value for '--trials'"),
        (
            ["tiny.yaml", "tune.train.epochs=3"],
            "command line: tune.train.epochs: must be a range, as",
        ),
        (
            ["tiny.yaml", "data.valid=nowhere.conll"],
            "command line: data.valid: there is no file or folder nowhere.conll",
        ),
    ]:
        result = cli("tune", *words)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), words
        assert message in result.err
    Path("broken.conll").write_text("fly O\nto\n")
    result = cli("tune", "tiny.yaml", "data.valid=broken.conll")
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert not Path("tuned").exists()


def test_without_optuna_it_says_what_to_install(desk, cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = cli("tune", "tiny.yaml")
    assert (result.code, result.err) == (
        2,
        "slotfill: tune needs optuna; install it with: pip install 'slotfill[tune]'\n",
    )


def test_output(desk, cli):
    result = cli("tune", "tiny.yaml", FAST, "--trials", "2")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    first = "train.learning_rate=0.1 encoder.hidden_size=8 tagger.dropout=0.1 encoder.cell=lstm"
    assert lines[0] == f"trial 1: {first}"
    assert re.fullmatch(
        r"trial 1: valid F1 [\d.]+, 2 epochs in \d+ s; 1 of 2 done, best F1 [\d.]+", lines[1]
    )
    assert re.search(r"│ 1 +│ +[12] │ +[\d.]+ │ +2 │ +\d+ │", result.out)
    assert lines[-4:] == [
        "2 trials: 2 finished.",
        "F1 on valid in percent over complete slots. The test split was not used.",
        f"The best config is {OUT}/best.yaml. Next:",
        f"  slotfill train {OUT}/best.yaml",
    ]


def test_a_baseline_outside_the_search_space_is_reported(desk, cli):
    result = cli("tune", "tiny.yaml", FAST, "--trials", "1", "tune.encoder.hidden_size=[12, 16]")
    assert result.out.startswith(
        "The config's own values lie outside the search space, so they are not tried as a"
    )


def test_files_to_try_are_relative_to_the_config(desk, cli, monkeypatch):
    for name in ("a", "b"):
        Path(f"{name}.vec").write_text("to 0.5 1\nfly 2 -1\n")
    write_config(
        Path("tiny.yaml"),
        embedding="[word, {name: pretrained, path: a.vec}]",
        tune="{train.epochs: {low: 1, high: 2}}",
    )
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    tried = "tune={embedding.1.path: [../a.vec, ../b.vec], train.epochs: {low: 1, high: 2}}"
    result = cli("tune", "../tiny.yaml", tried, "--trials", "3", "--json")
    assert {trial["state"] for trial in json.loads(result.out)["trials"]} == {"finished"}, (
        result.err
    )
    result = cli("tune", "../tiny.yaml", tried.replace("b.vec", "c.vec"), "--out", "other")
    assert (result.code, result.out) == (2, "")
    assert "embedding.1.path: there is no file ../c.vec; did you mean '../b.vec'?" in result.err


def write_study(cli, trials):
    """The lines of the journal of a study with so many trials."""
    tune_json(cli, FAST, "--trials", str(trials))
    return (OUT / "study.journal").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_record_that_was_cut_short_is_dropped_and_the_study_goes_on(desk, cli, others):
    """So a full disk or a killed process leaves it; `others` have appended to it since."""
    lines = write_study(cli, 2)
    started = [number for number, line in enumerate(lines) if b'"op_code":6' in line][-2]
    torn = b"".join(lines[: started + 1]) + lines[started + 1][:40]
    new = lines[0].replace(b'"op_code":0', b'"op_code":4').replace(b"study_name", b"study_id")
    new = re.sub(rb'"study_id":"\w+".*', b'"study_id":0,"datetime_start":null}', new)
    path = OUT / "study.journal"
    path.write_bytes(torn + new * others)
    before = path.stat().st_size
    result = cli("tune", "tiny.yaml", FAST, "--trials", "3", "--json")
    place = f":{started + 2}: an incomplete record" if others else ": the last record is incomplete"
    assert result.code == 0 and f"study.journal{place}" in result.err, result.err
    found = json.loads(result.out)
    assert (len(found["trials"]), found["running"]) == (3, 0)
    if others:  # Nothing has moved, as others may be reading.
        assert path.read_bytes()[:before].endswith(new)
    result = cli("tune", "tiny.yaml", FAST, "--trials", "3", "--json")
    assert (result.code, result.err) == (0, "")


def test_others_cut_what_a_process_has_left_before_they_write(desk, cli):
    write_study(cli, 1)
    study = open_study(plan("tiny.yaml", [FAST]))
    with (OUT / "study.journal").open("ab") as file:
        file.write(b'{"op_code":5,"worker')
    assert study.ask(2).number == 2
    for line in (OUT / "study.journal").read_bytes().splitlines():
        json.loads(line)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (rb'"values":\[[^]]+\]', b'"values":["x"]', "values.0 must be float"),
        (rb'"seconds":[^}]+', b'"seconds":"x"', "user_attr.seconds must be float"),
        (rb'"f1s":\[[^]]+\]', b'"f1s":["x"]', "user_attr.f1s.0 must be float"),
        (rb'"f1s":\[[^]]+\]', b'"f1s":[Infinity]', "f1s must be finite"),
        (rb'"curves":\[\[', b'"curves":[["x"', "Expecting"),
        (rb'"state":1', b'"state":77', "77 is not a valid TrialState"),
        (rb'"trial_id":0', b'"trial_id":' + b"1" * 5000, "Exceeds the limit"),
        (rb'"distribution":"', b'"distribution":"x', "Expecting value"),
        (rb'{"op_code":5,.*', b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_damaged_line_of_a_study_is_named(desk, cli, old, new, problem):
    lines = write_study(cli, 1)
    number = next(number for number, line in enumerate(lines) if re.search(old, line))
    lines[number] = re.sub(old, new, lines[number])
    (OUT / "study.journal").write_bytes(b"".join(lines))
    result = cli("tune", "tiny.yaml", FAST, "--trials", "1")
    assert result.code == 3 and result.err.count("\n") == 1, result.err
    assert f"study.journal:{number + 1}: not a record of a study (" in result.err
    assert problem in result.err


def test_the_lock_of_a_process_that_was_killed_is_named_before_the_wait(desk, cli, monkeypatch):
    write_study(cli, 1)
    lock = OUT / "study.journal.lock"
    lock.touch()
    os.utime(lock, (time.time() - 60,) * 2)
    monkeypatch.setattr("slotfill.lab.tune.journal._GRACE", 3)
    monkeypatch.setattr("optuna.storages.journal._file.time.sleep", lambda _: lock.unlink())
    result = cli("tune", "tiny.yaml", FAST, "--trials", "1")
    assert result.code == 0, result.err
    assert result.err.startswith(f"slotfill: {lock}: of a process that is writing, or was killed")
