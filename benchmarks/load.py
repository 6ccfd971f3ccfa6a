"""Load: long streams, long sentences, many processes and overload, in bounded memory.

    python benchmarks/load.py stream --sentences 10_000_000
    python benchmarks/load.py mixed predictors replace   # several scenarios, one after another
    python benchmarks/load.py train --sentences 1_000_000 --processes 2 --in-memory
    python benchmarks/load.py serve --minutes 10
    python benchmarks/load.py all --quick                # all of them, small; nothing is written

Each is the command that a user runs, with a small network that is trained first, or `--run RUN`.
A failure is an answer that is missing, wrong or not allowed. Memory is the sum of the resident
memory of all processes of the command, read four times a second; what forks share counts in each.
docs/reliability.md shows benchmarks/load.json. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from http.client import HTTPConnection, HTTPException
from itertools import count, cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from growth import SETTINGS, vary_cities

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from measured import record

from slotfill.data.sentence import MAX_TOKENS

ROOT = Path(__file__).parents[1]
TAIPEI = ROOT / "data" / "taipei"
RESULTS = Path(__file__).with_suffix(".json")
INTERVAL = 0.25
"""Seconds between two looks at the memory."""
CLIENTS = 8
LONGEST = 50_000
"""Tokens of a sentence that is longer than allowed."""
CONFIDENCE = re.compile(rb'("(?:confidence|in_domain)": )(\d\.\d+)')
ALLOWED = {200, 429, 503}
"""The answers of a service that has more requests than it can take."""


def start(*words: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start `slotfill WORDS`, with one thread for each product."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "slotfill", *map(str, words)]
    return subprocess.Popen(command, env=environment, **options)


class Command:
    """A running slotfill command, and the memory of all its processes.

    Attributes:
        process: The process that was started.
        memory: The seconds since the start, and the MB then, of each look.
    """

    def __init__(self, *words: str | Path, **options: Any) -> None:
        self.began = time.monotonic()
        self.process = start(*words, start_new_session=True, **options)
        self.memory: list[tuple[float, float]] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.process.poll() is None:
            megabytes = session_memory(self.process.pid)
            self.memory.append((time.monotonic() - self.began, megabytes))
            time.sleep(INTERVAL)

    def figures(self) -> dict[str, float]:
        """Return the seconds so far, the peak memory, and the peak in the first quarter of them."""
        seconds = time.monotonic() - self.began
        early = (megabytes for at, megabytes in self.memory if at <= seconds / 4)
        return {
            "seconds": round(seconds, 1),
            "early_mb": round(max(early, default=0.0)),
            "peak_mb": round(max((each for _, each in self.memory), default=0.0)),
        }


def session_memory(session: int) -> float:
    """Return the resident memory of all processes of a session, in MB."""
    pages = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # It has just ended.
            if int(fields[3]) == session:
                pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_texts() -> list[str]:
    """Return the test sentences of Taipei."""
    lines = (TAIPEI / "test.brackets").read_text(encoding="utf-8").splitlines()
    return [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line) for line in lines]


def numbered_texts() -> Iterator[str]:
    """Yield endless sentences, each with a new word at its end."""
    for number, text in zip(count(), cycle(test_texts()), strict=False):
        yield f"{text} w{number}"


def feed(file: IO[bytes] | None, texts: Iterable[str]) -> threading.Thread:
    """Write `texts` to the standard input of a process, in a thread."""
    assert file is not None

    def write() -> None:
        with file:
            while lines := [f"{text}\n" for text in islice(iterator, 1000)]:
                file.write("".join(lines).encode())

    iterator = iter(texts)
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def stream(run: Path, sentences: int) -> dict[str, Any]:
    """Predict a stream; the memory stays, and each sentence gets its own answer."""
    answers = failures = 0
    command = Command("predict", run, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with command.process as process:
        feed(process.stdin, islice(numbered_texts(), sentences))
        for line in process.stdout or ():
            if answers % 1000 == 0:
                failures += not json.loads(line)["text"].endswith(f" w{answers}")
            answers += 1
    failures += abs(sentences - answers) + (process.returncode != 0)
    figures = command.figures()
    rate = round(sentences / figures["seconds"])
    return {"sentences": sentences, "rate": rate, **figures, "failures": failures}


def mixed(run: Path, sentences: int) -> dict[str, Any]:
    """Predict sentences of all lengths in two orders; one that is too long is refused."""
    draw = random.Random(1)
    words = [word for text in test_texts() for word in text.split() if word.isalpha()]
    sizes = [round(MAX_TOKENS ** draw.random()) for _ in range(sentences - 1)] + [MAX_TOKENS]
    texts = [" ".join(draw.choices(words, k=size)) for size in sizes]
    answers, figures = [], {}
    for order in (sorted(texts, key=len), draw.sample(texts, len(texts))):
        command = Command(
            *("predict", run, "--no-confidence"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with command.process as process:
            feed(process.stdin, order)
            answers.append(dict(zip(order, process.stdout or (), strict=False)))
        figures = command.figures()
    failures = sum(answers[0].get(text) != answers[1].get(text) for text in texts)
    failures += sum(text not in answers[0] for text in texts)
    too_long = " ".join(draw.choices(words, k=LONGEST))
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = Command("predict", run, **pipes)
    output, error = command.process.communicate(f"{texts[0]}\n{too_long}\n".encode())
    is_refused = command.process.returncode == 3 and error.count(b"\n") == 1
    failures += not (is_refused and output.count(b"\n") == 1)
    return {
        "sentences": sentences,
        "tokens": sum(sizes),
        "rate": round(sum(sizes) / figures["seconds"]),
        **figures,
        "failures": failures,
    }


def count_differences(expected: bytes, found: bytes) -> int:
    """Return how many lines differ, by more than a unit in the last digit of a confidence."""
    lines, others = expected.split(b"\n"), found.split(b"\n")
    different = abs(len(lines) - len(others))
    for line, other in zip(lines, others, strict=False):
        if line != other:
            values, other_values = (
                [float(value) for _, value in CONFIDENCE.findall(each)] for each in (line, other)
            )
            is_same = CONFIDENCE.sub(rb"\1", line) == CONFIDENCE.sub(rb"\1", other)
            pairs = zip(values, other_values, strict=True) if is_same else [(0.0, 1.0)]
            different += any(abs(value - other) > 1.1e-4 for value, other in pairs)
    return different


def predictors(run: Path, sentences: int) -> dict[str, Any]:
    """Predict with 8 processes on one run at once; all answer what one alone does.

    Which sentences are in one batch, and so the last bits, depends on how fast they come.
    """
    content = "".join(f"{text}\n" for text in islice(numbered_texts(), sentences)).encode()

    def predict(_: int) -> tuple[bytes, Command]:
        command = Command("predict", run, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        output, _ = command.process.communicate(content)
        return output, command

    expected, _ = predict(0)
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        results = list(clients.map(predict, range(CLIENTS)))
    seconds = time.monotonic() - began
    peak = sum(command.figures()["peak_mb"] for _, command in results)
    return {
        "sentences": CLIENTS * sentences,
        "rate": round(CLIENTS * sentences / seconds),
        "seconds": round(seconds, 1),
        "peak_mb": peak,
        "failures": sum(count_differences(expected, output) for output, _ in results),
    }


def train(sentences: int, processes: int, streaming: bool) -> dict[str, Any]:
    """Train a small network for an epoch, with the sentences on disk or in memory."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "train.brackets")
        lines = (TAIPEI / "train.brackets").read_text(encoding="utf-8").splitlines()
        with file.open("w", encoding="utf-8") as target:
            target.writelines(f"{line}\n" for line in islice(vary_cities(lines), sentences))
        data = ["data.path=null", f"data.train={file}", f"data.valid={TAIPEI / 'valid.brackets'}"]
        out = Path(folder, "run")
        data.append(f"data.streaming={json.dumps(streaming)}")
        words = ["train", "taipei", *data, *SETTINGS, f"train.processes={processes}"]
        command = Command(*words, "--device", "cpu", "--out", out, stdout=subprocess.DEVNULL)
        failures = int(command.process.wait() != 0)
        figures = command.figures()
    return {
        "sentences": sentences,
        "processes": processes,
        "rate": round(sentences / figures["seconds"]),
        **figures,
        "failures": failures,
    }


class Service:
    """`slotfill serve` on a free port."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.command = Command("serve", run, "--port", "0", stdout=subprocess.PIPE)
        assert self.command.process.stdout is not None
        line = self.command.process.stdout.readline().decode()
        self.address = re.findall(r"http://([^,/]+)", line)[0]

    def ask(self, connection: HTTPConnection, texts: Sequence[str]) -> tuple[int, Any]:
        """Return the status and the predictions of a request; the status is 0 without an answer."""
        headers = {"Content-Type": "application/json"}
        try:
            body = json.dumps({"texts": texts})
            connection.request("POST", f"/runs/{self.run.name}/predict", body, headers)
            response = connection.getresponse()
            content = json.loads(response.read())
        except (OSError, HTTPException, ValueError):
            connection.close()
            return 0, None
        return response.status, content.get("predictions")

    def drive(
        self,
        texts: Sequence[str],
        clients: int,
        until: Callable[[], bool],
        check: Callable[[Any], bool] = lambda predictions: True,
    ) -> Counter[int]:
        """Send requests over so many connections, each after the answer to the last one.

        Returns how many answers had each status, which is 0 for a wrong or missing one.
        """

        def work(_: int) -> Counter[int]:
            statuses = Counter[int]()
            connection = HTTPConnection(self.address, timeout=60)
            while not until():
                status, predictions = self.ask(connection, texts)
                right = status != 200 or (len(predictions) == len(texts) and check(predictions))
                statuses[status if right else 0] += 1
            connection.close()
            return statuses

        with ThreadPoolExecutor(clients) as pool:
            return sum(pool.map(work, range(clients)), Counter())


@contextmanager
def serving(run: Path) -> Iterator[Service]:
    """Serve a run until the end of the block."""
    service = Service(run)
    with service.command.process as process:
        try:
            yield service
        finally:
            process.send_signal(signal.SIGTERM)


def serve(run: Path, minutes: float) -> dict[str, Any]:
    """Serve as many requests as can be answered, then more; nothing but 200, 429 and 503."""
    texts = test_texts()
    with serving(run) as service:
        begin = time.monotonic()
        end = begin + 60 * minutes
        steady = service.drive(texts[:1], 16, lambda: time.monotonic() > end)
        seconds = time.monotonic() - begin
        figures = service.command.figures()
        over = time.monotonic() + max(2.0, 6 * minutes)
        # Of these, 6,400 texts would wait, where 1,000 may.
        overload = service.drive(texts[:100], 64, lambda: time.monotonic() > over)
        status, _ = service.ask(HTTPConnection(service.address, timeout=60), texts[:1])
        peak = service.command.figures()["peak_mb"]
    failures = steady.total() - steady[200] + (status != 200)
    failures += sum(number for status, number in overload.items() if status not in ALLOWED)
    return {
        "requests": steady.total(),
        "rate": round(steady.total() / seconds),
        **figures,
        "overload": {str(status): number for status, number in sorted(overload.items())},
        "overload_peak_mb": peak,
        "failures": failures,
    }


def replace(minutes: float) -> dict[str, Any]:
    """Train a run again and again while 8 clients predict; each answer is of one of the runs."""
    with TemporaryDirectory() as folder:
        run, replaced = Path(folder, "run"), 0
        train_small_run(run)
        with serving(run) as service, ThreadPoolExecutor(1) as thread:
            begin = time.monotonic()
            done = threading.Event()
            texts, answers = test_texts()[:1], set[str]()

            def check(predictions: Any) -> bool:
                answers.add(json.dumps(predictions, sort_keys=True))
                return bool(predictions[0]["text"] == texts[0])

            clients = thread.submit(service.drive, texts, CLIENTS, done.is_set, check)
            while replaced < 2 or time.monotonic() < begin + 60 * minutes:
                replaced += 1
                train_small_run(run, "--force", "--seed", str(replaced + 1))
                time.sleep(3)  # It is loaded when its files are as they were a second ago.
            done.set()
            statuses, seconds = clients.result(), time.monotonic() - begin
            figures = service.command.figures()
    failures = statuses.total() - statuses[200]
    # Each replacement was loaded, and predicts with confidences of its own.
    failures += abs(len(answers) - (replaced + 1))
    return {
        "requests": statuses.total(),
        "replaced": replaced,
        "rate": round(statuses.total() / seconds),
        **figures,
        "failures": failures,
    }


def train_small_run(path: Path, *words: str) -> Path:
    """Train a run on the built-in corpus, in seconds."""
    options = ["train.epochs=2", "data.limit=500", "--device", "cpu", "--out", str(path), *words]
    process = start("train", "taipei", *SETTINGS, *options, stdout=subprocess.DEVNULL)
    if process.wait():
        sys.exit(f"{path}: the training failed")
    return path


SCENARIOS = ("stream", "mixed", "predictors", "train", "serve", "replace")
SIZES = {"stream": 10_000_000, "mixed": 2_000, "predictors": 100_000, "train": 1_000_000}
QUICK = {"stream": 2_000, "mixed": 20, "predictors": 200, "train": 1_000}


def measure(name: str, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a scenario."""
    size = options.sentences or (QUICK if options.quick else SIZES).get(name, 0)
    minutes = options.minutes or (0.02 if options.quick else {"serve": 10, "replace": 2}.get(name))
    if name == "train":
        return train(size, options.processes, not options.in_memory)
    if name == "replace":
        return replace(minutes)
    if name == "serve":
        return serve(run, minutes)
    return {"stream": stream, "mixed": mixed, "predictors": predictors}[name](run, size)


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, and write the figures unless they are of small sizes; return them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="+", choices=[*SCENARIOS, "all"])
    parser.add_argument("--sentences", type=int, help="how many are predicted or trained on")
    parser.add_argument("--minutes", type=float, help="how long serve and replace take")
    parser.add_argument("--processes", type=int, default=1, help="those of train")
    parser.add_argument("--in-memory", action="store_true", help="train without data.streaming")
    parser.add_argument("--run", type=Path, help="the run that predicts; default: a small one")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is written")
    options = parser.parse_args(words)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    measured: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        run = options.run
        names = SCENARIOS if "all" in options.scenarios else options.scenarios
        for name in names:
            if run is None and name not in ("train", "replace"):
                run = train_small_run(Path(folder, "run"))
            figures = measured[name] = measure(name, run, options)
            print(name, json.dumps(figures), flush=True)
            if name == "train":
                name += " in memory" * options.in_memory
                name += f", {options.processes} processes" * (options.processes > 1)
            results[name] = figures | {
                "date": date.today().isoformat(),
                "python": platform.python_version(),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            }
            if not options.quick:
                RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if not options.quick:
        depends = ("slotfill/inference", "slotfill/runs", "slotfill/serve", "slotfill/training")
        record("benchmarks/load.json", "python benchmarks/load.py all", *depends)
    return measured


if __name__ == "__main__":
    sys.exit(any(figures["failures"] for figures in main().values()))
