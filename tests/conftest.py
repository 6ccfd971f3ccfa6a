"""Shared fixtures: a tiny corpus, a run trained on it once, and the command line."""

from __future__ import annotations

import gc
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedReader, FileIO, TextIOWrapper
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import pytest
import typer.main
from hypothesis import settings

# Before torch is imported: networks of these sizes are slower with a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The suite says what a CPU computes, in forks of this process; tests/model/test_gpu.py wants one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# A background job ignores SIGINT, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Typer would build all commands again for each command line.
typer.main.get_command = cache(typer.main.get_command)

_relpath = os.path.relpath


def relpath(path: str | os.PathLike[str], start: str | os.PathLike[str] = os.curdir) -> str:
    """Leave a temporary file absolute that is named from the repository.

    Otherwise messages would name it differently where the repository lies beside such files.
    """
    is_temporary = str(path).startswith(gettempdir() + os.sep)
    from_repository = start == os.curdir and Path.cwd() == Path(__file__).parents[1]
    relative = _relpath(path, start)
    return str(path) if is_temporary and from_repository and relative[:2] == ".." else relative


os.path.relpath = relpath

CITIES = ("Taipei", "Tokyo", "New York", "Paris", "Oslo", "Lima")
SHAPES = (
    "arrive [{a}](destination)",
    "leave [{a}](origin) for [{b}](destination) please",
    "fly from [{a}](origin) to [{b}](destination)",
    "hello there",
)
SMALL = {
    "embedding": "{name: word, size: 8}",
    "encoder": "{name: recurrent, hidden_size: 8, dropout: 0.1}",
    "tagger": "{name: crf, dropout: 0.1}",
    "train": "{epochs: 6, batch_size: 8, learning_rate: 0.1, ema_decay: 0.5}",
}
"""The sections of a config that learns the tiny corpus in a tenth of a second."""

TRAINED = "{epochs: 6, batch_size: 4, learning_rate: 0.04, ema_decay: 0.5}"
"""The section `train` of the run `trained`, whose predictions are on pages."""


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def write_corpus(folder: Path) -> Path:
    """Write 68 sentences as the splits train, valid, test and pairs; return the folder."""
    draw = random.Random(0)
    folder.mkdir()
    for split, count in {"train": 40, "valid": 16, "test": 8, "pairs": 4}.items():
        rows = (
            SHAPES[i % 4].format(**dict(zip("ab", draw.sample(CITIES, 2), strict=True)))
            for i in range(count)
        )
        (folder / f"{split}.brackets").write_text(
            "".join(f"{row}\n" for row in rows), encoding="utf-8"
        )
    return folder


def write_config(path: Path, **sections: str) -> Path:
    """Write a small config for the corpus, with other `sections` if passed; return its path."""
    rows = {"data": "{path: corpus}"} | SMALL | sections
    path.write_text("".join(f"{key}: {value}\n" for key, value in rows.items()), encoding="utf-8")
    return path


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "run the files of tests, and the tests of each, in an order drawn with this seed"
    parser.addoption("--random-order", type=int, metavar="SEED", help=what)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Draw the order if that is asked for; the tests of a file stay together."""
    if (seed := config.getoption("--random-order")) is not None:
        draw, files = random.Random(seed), dict[Path, list[pytest.Item]]()
        for item in items:
            files.setdefault(item.path, []).append(item)
        order = draw.sample([*files.values()], len(files))
        items[:] = [item for tests in order for item in draw.sample(tests, len(tests))]


# Time is measured in benchmarks; here it depends on what else the machine does.
settings.register_profile("slotfill", deadline=None)
settings.load_profile("slotfill")

# No test cuts the power, and each file would wait for the disk.
os.fsync = lambda file: None

# Collection makes no garbage, and to search its thousands of tests for some takes seconds.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what is there out of the searches for garbage from here on."""
    gc.freeze()
    gc.enable()


_FOLDER = TemporaryDirectory(prefix="slotfill-tests-")


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Yield a folder, which is emptied: to remove it takes some disks longer than an example."""
    folder = Path(_FOLDER.name)
    try:
        yield folder
    finally:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the tiny corpus; nothing may be written into it."""
    folder = write_corpus(tmp_path_factory.mktemp("shared") / "corpus")
    content = {path: path.read_bytes() for path in folder.iterdir()}
    yield folder
    assert {path: path.read_bytes() for path in folder.iterdir()} == content


@pytest.fixture
def desk(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a new one, with `tiny.yaml` and the `corpus` that it names."""
    (tmp_path / "corpus").symlink_to(corpus)
    write_config(tmp_path / "tiny.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(corpus: Path) -> Path:
    """A run trained on the tiny corpus; nothing may be written into it."""
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    folder = corpus.parent
    _, config = load_config(str(write_config(folder / "tiny.yaml", train=TRAINED)))
    return train(config, RunFolder(folder / "run"), lambda progress: None).path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser of Playwright, for the pages."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install '.[test]'")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium to show the page in: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield instance
        instance.close()


@pytest.fixture(autouse=True)
def transformer(request: pytest.FixtureRequest) -> None:
    """Provide a transformer to tests of parts that name one; others do not import the library."""
    # Not for the encoder of this name.
    name = request.node.name.replace("> transformer", "").replace("test_transformer_", "")
    is_encoder = name.startswith("test_part_has_its_contracts[encoder-")
    in_folder = request.path.parent.name in ("model", "export")
    if in_folder and "transformer" in name and not is_encoder:
        from part_cases import NO_TRANSFORMERS, make_transformer

        if NO_TRANSFORMERS:
            pytest.skip(NO_TRANSFORMERS)
        make_transformer()


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Call the command line in this process, as `slotfill ARGUMENTS` would."""
    from slotfill.cli.main import main

    def call(*arguments: object, columns: int = 100) -> Result:
        monkeypatch.setattr(sys, "argv", ["slotfill", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Result(int(end.value.code or 0), out, err)

    return call


@contextmanager
def standard_input(data: bytes, folder: Path) -> Iterator[None]:
    """Make `data` the standard input of this process; `folder` is for a file that holds it."""
    (folder / "stdin").write_bytes(data)
    kept = os.dup(0)
    file = os.open(folder / "stdin", os.O_RDONLY)
    try:
        os.dup2(file, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(file)


def start(
    *arguments: object, env: Mapping[str, str] | None = None, **options: object
) -> subprocess.Popen[bytes]:
    """Start `slotfill ARGUMENTS` as a separate process with pipes.

    It is a fork of this process, which need not import torch again. Popen returns when the child
    has closed the pipe that exec would close.
    """
    from slotfill.cli.main import main

    already_open = set(Path("/dev/fd").iterdir())

    def run() -> None:
        code = 1
        try:
            for path in set(Path("/dev/fd").iterdir()) - already_open:
                with suppress(OSError):
                    os.close(int(path.name))
            # The server of `compare --jobs` is a child of the parent.
            forkserver._forkserver.__init__()
            os.environ.update(env or {})
            sys.argv = ["slotfill", *map(str, arguments)]
            sys.stdin = TextIOWrapper(BufferedReader(FileIO(0, closefd=False)))
            sys.stdout, sys.stderr = (
                TextIOWrapper(FileIO(fd, "w", closefd=False), write_through=True) for fd in (1, 2)
            )
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Python ignores SIGPIPE, which `restore_signals` would undo.
    options = pipes | {"preexec_fn": run, "restore_signals": False} | options
    return subprocess.Popen("slotfill", **options)  # type: ignore[call-overload]


def run_on_terminal(*arguments: object, typed: bytes = b"", **variables: str) -> tuple[int, str]:
    """Run `slotfill ARGUMENTS` on a terminal of 80 columns; return exit code and what it shows."""
    controller, terminal = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"} | variables
    os.write(controller, typed)
    process = start(*arguments, env=environment, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    output = b""
    # Linux raises an error when the other side is closed.
    with suppress(OSError):
        while block := os.read(controller, 65536):
            output += block
    os.close(controller)
    return process.wait(), output.decode()
