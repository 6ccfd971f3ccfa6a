"""Corpora, runs, peers' models and workers of the benchmarks, created if missing; medians."""

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
sys.path.insert(1, str(Path(__file__).parents[1] / "scripts"))
from environment import environment as peers_python

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "build" / "benchmarks"
"""Folder of the peers' models, which later benchmarks reuse; git ignores it."""

CORPORA = {
    name: ROOT.parent / "shared" / "data" / name for name in ("atis", "snips", "mit_restaurant")
}
CORE = max(os.sched_getaffinity(0))
"""The processor to which single-core measurements are pinned."""


def get_run(config: str, seed: int = 1) -> Path:
    """Return the run of a config of docs/results.md, trained first if it is missing."""
    path = ROOT / "runs" / "results" / f"{config}-seed{seed}"
    if not path.is_dir():
        log(f"training {config}, seed {seed}")
        command = [
            sys.executable,
            "-m",
            "slotfill",
            "train",
            config,
            "--seed",
            str(seed),
            "--out",
            str(path),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return path


def peer_model(peer: str, corpus: str) -> Path:
    """Return the model of a peer, `crfsuite` or `spacy_ner`, trained first if it is missing."""
    path = ROOM / f"{corpus}.{peer}"
    if not path.exists():
        log(f"training {peer} on {corpus}")
        ROOM.mkdir(parents=True, exist_ok=True)
        output = subprocess.run(
            peer_command(peer, "train", CORPORA[corpus], path), check=True, capture_output=True
        )
        path.with_name(f"{path.name}.json").write_bytes(
            output.stdout.strip().splitlines()[-1] + b"\n"
        )
    return path


def peer_command(peer: str, *words: str | Path) -> list[str]:
    """Return the command that runs a peer's script in the environment of the peers."""
    return [
        str(peers_python()),
        str(ROOT / "benchmarks" / "peers" / f"{peer}.py"),
        *map(str, words),
    ]


def test_lines(corpus: str, sentences: int) -> Path:
    """Return a file of so many test sentences, repeated as needed; each once for 0."""
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
    repeated = lines * -(-max(sentences, 1) // len(lines))
    path.write_text(
        "".join(f"{line}\n" for line in repeated[: sentences or len(lines)]), encoding="utf-8"
    )
    return path


class Worker:
    """A process that answers requests, with one thread, pinned to one processor."""

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


def start_worker(run: Path) -> Worker:
    """Start a worker that predicts with a run of slotfill."""
    return Worker([sys.executable, str(ROOT / "benchmarks" / "slotfill_worker.py"), str(run)])


def start_peer(peer: str, corpus: str) -> Worker:
    """Start a worker that predicts with a peer."""
    return Worker(peer_command(peer, "predict", peer_model(peer, corpus)))


def seconds(command: list[str], **options: Any) -> float:
    """Return the seconds from the start of a command to its end."""
    began = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    return time.perf_counter() - began


def interleave(measures: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """Return the results of `measures`, with interleaved repeats so that they share the noise."""
    results: dict[str, list[Any]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def summarize(values: list[float], digits: int = 4) -> dict[str, float]:
    """Return the median, minimum and maximum of `values`."""
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


def log(message: str) -> None:
    """Print progress to standard error."""
    print(message, file=sys.stderr, flush=True)
