"""Crashes: kill commands at each operation on files, and at random; each must lose nothing.

    python benchmarks/crash.py                    # every command, every operation, random kills
    python benchmarks/crash.py train --kills 10   # one command, and 10 random kills of trainings

A process ends, without any clean-up, before its first, second, ... operation on files: opening one
to write, half of a write, a flush to the disk, a rename, a removal. Then the old or the new result
must be there, and what the user does next (`--resume`, or the same command again) must give the
same files as without the crash, with nothing left beside them. A full disk is the same with an
error of the system instead of the end. docs/reliability.md shows benchmarks/crash.json.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import platform
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import slotfill.runs.train  # noqa: F401 - The processes are forks, which need not import torch.
from slotfill.cli.main import main as slotfill_main
from slotfill.errors import SlotfillError
from slotfill.runs.folder import is_in_use
from slotfill.runs.load import load_run
from slotfill.runs.manifest import RunFiles

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from measured import record

RESULTS = Path(__file__).with_suffix(".json")
KILLED = 137

_OPERATIONS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}

SIZE = ["embedding={name: word, size: 8}", "encoder={name: recurrent, hidden_size: 8}"]
SMALL = [*SIZE, "train={epochs: 2, batch_size: 32, learning_rate: 0.05, ema_decay: 0}"]
TRAIN = ["train", "data.path=in.brackets", "data.holdout=0.3", *SMALL]
TRAIN += ["--device", "cpu", "--out", "run"]


@dataclass
class Command:
    """A command, and how the user goes on after a crash of it."""

    words: list[str]
    start: list[list[str]] = field(default_factory=list)
    """The commands that make what is there before."""
    recover: list[list[str]] = field(default_factory=list)
    """The commands that may follow, of which the first that succeeds does."""
    old: str = ""
    """The run that must be usable at any time, unless the new one is."""


COMMANDS = {
    "train": Command(TRAIN, recover=[["train", "--resume", "run"], TRAIN]),
    "train --force": Command(
        [*TRAIN, "--seed", "2", "--force"],
        start=[TRAIN],
        recover=[["train", "--resume", "run"], [*TRAIN, "--seed", "2", "--force"]],
        old="run",
    ),
    "export": Command(["export", "run"], [TRAIN], [["export", "run"]], old="run"),
    "threshold": Command(
        ["threshold", "run", "--precision", "0.5"],
        [TRAIN],
        [["threshold", "run", "--precision", "0.5"]],
        old="run",
    ),
    "pack": Command(
        ["pack", "run", "--out", "run.zip"],
        [TRAIN],
        [["pack", "run", "--out", "run.zip", "--force"]],
    ),
    "convert": Command(
        ["convert", "in.brackets", "out.jsonl"], [], [["convert", "in.brackets", "out.jsonl"]]
    ),
    "report": Command(
        ["evaluate", "run", "--report", "r.html", "--force"],
        [TRAIN],
        [["evaluate", "run", "--report", "r.html", "--force"]],
    ),
}


def write_corpus() -> None:
    """Write a few sentences, which train in a moment."""
    cities = ("Oslo", "Rome", "New York", "Lima", "Paris")
    rows = [f"leave [{a}](from) for [{b}](to)\n" for a in cities for b in cities if a != b]
    Path("in.brackets").write_text("".join(rows))


class Disk:
    """Counts operations on files, and acts before or in the one of number `stop_at`."""

    def __init__(self, stop_at: int, act: Callable[[], object]) -> None:
        self.stop_at = stop_at
        self.act = act
        self.count = 0
        self.process = os.getpid()

    def attach(self) -> None:
        """Count from now on, in this process but not in those it starts."""
        fsync = os.fsync

        def write_halves(path: Path, content: bytes) -> int:
            with path.open("wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                self.operate()
                return file.write(content[len(content) // 2 :])

        def flush(descriptor: int) -> None:
            self.operate()
            fsync(descriptor)

        Path.write_bytes, os.fsync = write_halves, flush  # type: ignore[method-assign,assignment]
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See a hook of `sys.addaudithook`."""
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        is_file = not str(arguments[0] if arguments else "").startswith(("/dev/", "/proc/"))
        if is_file and (writes or event in _OPERATIONS):
            self.operate()

    def operate(self) -> None:
        """Count an operation."""
        if os.getpid() == self.process:
            self.count += 1
            if self.count == self.stop_at:
                self.act()


def run(words: Iterable[str], stop_at: int = 0, act: Callable[[], object] = lambda: None) -> int:
    """Run a command in a forked process, which acts at an operation; return its exit code.

    With `stop_at` -1, the number of operations is written to the file `count` above.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(os.open("../stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        disk = Disk(stop_at, act)
        code = 1
        try:
            sys.argv = ["slotfill", *words]
            disk.attach()
            slotfill_main()
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException as error:
            os.write(2, f"Traceback: {error!r}".encode())
        finally:
            if stop_at == -1:
                disk.stop_at = 0
                os.write(os.open("../count", os.O_WRONLY | os.O_CREAT), str(disk.count).encode())
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stderr() -> str:
    return Path("../stderr").read_text(errors="replace")


def full_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def content(folder: Path = Path()) -> dict[str, Any]:
    """Return the files of a folder, without what tells time."""
    result: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".out.jsonl.") and not any(path.iterdir()):
            continue  # The next command that writes out.jsonl removes it.
        if path.name == "run.partial.lock" and not is_in_use(path.with_name("run")):
            continue  # Nobody has it, and the next training removes it, as `is_in_use` has now.
        if path.is_file() and path.name not in ("environment.json", "history.csv", "scores.json"):
            result[str(path)] = path.read_bytes() if path.name != "manifest.json" else None
        elif not path.is_file():
            result[str(path)] = None
    for name in [name for name in result if name.endswith((".zip", ".html"))]:
        result[name] = None  # They have the scores, or the date.
    return result


def check_usable(name: str) -> bool:
    """Return whether the run is there, also as the one that is being replaced, and predicts."""
    for path in (name, f"{name}.partial", f"{name}.partial/replaced/run", f"{name}/replaced/run"):
        try:
            if path == name:
                load_run(Path(path))
                return True
            files = RunFiles(Path(path))
            for each in ("config.yaml", "vocab.json", "model.safetensors"):
                files[each]
            return True
        except (SlotfillError, OSError):
            continue
    return False


def crash(name: str, folder: Path) -> dict[str, int]:
    """Stop a command at each of its operations, by its end and by an error; return counts."""
    command = COMMANDS[name]
    begin, work = folder / "begin", folder / "work"
    begin.mkdir()
    os.chdir(begin)
    write_corpus()
    for words in command.start:
        assert run(words) == 0, stderr()

    def reset() -> None:
        os.chdir(folder)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(begin, work)
        os.chdir(work)

    reset()
    assert run(command.words, -1) == 0, stderr()
    expected, total = content(), int(Path("../count").read_text())
    counts = {"operations": total, "kills": 0, "errors": 0}
    for number in range(1, total + 1):
        for kind, act in (("kills", lambda: os._exit(KILLED)), ("errors", full_disk)):
            reset()
            code = run(command.words, number, act)
            where = f"{name}, operation {number} of {total}, {kind}"
            if kind == "kills":
                assert code == KILLED, (where, code, stderr())
            elif code != 0:
                lines = stderr().splitlines()
                assert code in (1, 2, 3), (where, code, stderr())
                assert lines and all("Traceback" not in line for line in lines), (where, lines)
                assert not list(Path().rglob("*.[0-9]*.new")), (where, "a temporary file is left")
            if command.old:
                assert check_usable(command.old), f"{where}: neither the old nor the new run"
            if content() != expected:
                assert any(run(words) == 0 for words in command.recover), (where, stderr())
                found = content()
                different = [
                    key for key in found | expected if found.get(key, 0) != expected.get(key, 0)
                ]
                assert not different, (where, different)
            counts[kind] += 1
    return counts


def kill_at_random(kills: int, processes: int, folder: Path) -> dict[str, int]:
    """Kill a training again and again, resuming it; at the end it equals one without kills."""
    words = [*TRAIN, "train.epochs=20", "train.checkpoint_minutes=1e-6"]
    words.append(f"train.processes={processes}")
    (folder / "work").mkdir(parents=True)
    os.chdir(folder / "work")
    write_corpus()
    began = time.monotonic()
    assert run(words) == 0, stderr()
    seconds = time.monotonic() - began
    expected = content()
    draw = random.Random(processes)
    counts = {"processes": processes, "kills": 0, "trainings": 0}
    while counts["kills"] < kills:
        shutil.rmtree("run")
        code, resume = -1, words
        while code != 0:
            child = os.fork()
            if child == 0:
                os.setpgid(0, 0)
                os._exit(run(resume))
            time.sleep(draw.uniform(0, seconds))
            try:
                os.kill(child, 0)
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    os.killpg(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    counts["kills"] += 1
                else:
                    code = 0
            except (ProcessLookupError, ChildProcessError):
                code = 0
            if Path("run").exists() and not Path("run.partial").exists() and content() == expected:
                break
            state = Path("run.partial/checkpoint/state.safetensors")
            resume = (
                ["train", "--resume", "run"] if state.exists() or Path("run").exists() else words
            )
        assert content() == expected, "another result"
        counts["trainings"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commands", nargs="*", help=f"of {', '.join(COMMANDS)}; default: all")
    parser.add_argument("--kills", type=int, default=50, help="random kills by number of processes")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def save(kind: str, name: str, counts: dict[str, int]) -> None:
        results.setdefault(kind, {})[name] = counts
        results["date"], results["python"] = date.today().isoformat(), platform.python_version()
        results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(name, counts, flush=True)

    for name in options.commands or COMMANDS:
        with TemporaryDirectory() as folder:
            counts = crash(name, Path(folder).resolve())
            os.chdir("/")
        save("commands", name, counts)
    for processes in (1, 2) if options.kills else ():
        with TemporaryDirectory() as folder:
            counts = kill_at_random(options.kills, processes, Path(folder).resolve())
            os.chdir("/")
        save("random", str(processes), counts)
    if not options.commands:
        depends = ("slotfill/files.py", "slotfill/runs", "slotfill/training/trainer.py")
        record("benchmarks/crash.json", "python benchmarks/crash.py", *depends)


if __name__ == "__main__":
    main()
