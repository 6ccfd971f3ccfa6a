"""What the benchmarks share: the corpora, the runs and the peers' models, made if they are not
there, and medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from environment import environment as peers_python

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "build" / "benchmarks"
"""Where the peers' models are kept from one time to the next; git passes it over."""

CORPORA = {
    name: ROOT.parent / "shared" / "data" / name for name in ("atis", "snips", "mit_restaurant")
}
CORE = max(os.sched_getaffinity(0))
"""The processor that all is pinned to that is measured on one."""


def run_of(recipe: str, seed: int = 1) -> Path:
    """Return the run of a recipe, one of those of docs/results.md, trained first if it is not
    there.
    """
    path = ROOT / "runs" / "results" / f"{recipe}-seed{seed}"
    if not path.is_dir():
        say(f"training {recipe}, seed {seed}")
        command = [
            sys.executable,
            "-m",
            "slotfill",
            "train",
            recipe,
            "--seed",
            str(seed),
            "--out",
            str(path),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return path


def peer_model(peer: str, corpus: str) -> Path:
    """Return the model of a peer, `crfsuite` or `spacy_ner`, trained first if it is not there."""
    path = ROOM / f"{corpus}.{peer}"
    if not path.exists():
        say(f"training {peer} on {corpus}")
        ROOM.mkdir(parents=True, exist_ok=True)
        told = subprocess.run(
            peer_command(peer, "train", CORPORA[corpus], path), check=True, capture_output=True
        )
        path.with_name(f"{path.name}.json").write_bytes(
            told.stdout.strip().splitlines()[-1] + b"\n"
        )
    return path


def peer_command(peer: str, *words: str | Path) -> list[str]:
    """Return what runs a peer's script by the Python of the peers' environment."""
    return [
        str(peers_python()),
        str(ROOT / "benchmarks" / "peers" / f"{peer}.py"),
        *map(str, words),
    ]


def test_lines(corpus: str, sentences: int) -> Path:
    """Return a file of the test sentences, again and again, until there are so many; each once with
    0.
    """
    folder = CORPORA[corpus]
    if (folder / "test.conll").is_file():
        blocks = (folder / "test.conll").read_text(encoding="utf-8").strip().split("\n\n")
        lines = [" ".join(row.split("\t")[0] for row in block.split("\n")) for block in blocks]
    else:
        lines = [
            line.strip()
            for line in (folder / "test" / "seq.in").read_text(encoding="utf-8").splitlines()
        ]
    path = ROOM / f"{corpus}-{sentences}.txt"
    ROOM.mkdir(parents=True, exist_ok=True)
    many = lines * -(-max(sentences, 1) // len(lines))
    path.write_text(
        "".join(f"{line}\n" for line in many[: sentences or len(lines)]), encoding="utf-8"
    )
    return path


class Worker:
    """A process that answers requests, pinned to one processor, with the threads that one processor
    can use.
    """

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            ["taskset", "-c", str(CORE), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(
            json.dumps({"do": do, **{key: str(value) for key, value in request.items()}}) + "\n"
        )
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def our_worker(run: Path) -> Worker:
    """Return slotfill at work with a run."""
    return Worker([sys.executable, str(ROOT / "benchmarks" / "slotfill_worker.py"), str(run)])


def peer_worker(peer: str, corpus: str) -> Worker:
    """Return a peer at work."""
    return Worker(peer_command(peer, "predict", peer_model(peer, corpus)))


def seconds(command: list[str], **options: Any) -> float:
    """Return the seconds from the start of a command to its end."""
    began = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    return time.perf_counter() - began


def in_turn(measures: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """Return what each of `measures` gave, all taken in turn, again and again, so that noise is
    shared.
    """
    found: dict[str, list[Any]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def middle(values: list[float], digits: int = 4) -> dict[str, float]:
    """Return the median of `values`, and the least and the most of them."""
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


def say(what: str) -> None:
    """Tell the person who waits."""
    print(what, file=sys.stderr, flush=True)
