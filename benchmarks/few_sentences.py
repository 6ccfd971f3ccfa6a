"""Train slotfill and other taggers on the same 10 to 1,000 sentences, and score them on test.

    python benchmarks/few_sentences.py                     all that is missing, for some hours
    python benchmarks/few_sentences.py --only snips --sentences 100 --systems slotfill

A draw is a sample of the training sentences, the same for all systems; of a larger sample of the
same draw the first sentences are those of a smaller. Nothing else is used to select an epoch, and
the test sets are complete. Each F1 is added to benchmarks/few_sentences.jsonl, and not measured
again; `python scripts/make_few_sentences.py` then writes docs/few_sentences.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import product
from operator import contains
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fixtures import CORPORA, log, peer_command
from measured import BILSTM_CRF, record
from samples import write_sample
from score import score

import slotfill

TARGET = Path(__file__).with_suffix(".jsonl")

SIZES = (10, 30, 100, 300, 1000)
DRAWS = (1, 2, 3)
SEEDS = (1, 2, 3, 4, 5)
"""Of the defaults with 100 sentences; of all others, seed 1."""
CONFIGS: dict[str, dict[str, Any]] = {
    "slotfill": {},
    "slotfill without static vectors": {"embedding": ["word", "char_cnn", "ngrams"]},
}
"""Overrides of the defaults."""
PEERS = {"CRFsuite": "crfsuite", "spaCy": "spacy_ner"}
"""Their scripts in benchmarks/peers."""
SYSTEMS = (*CONFIGS, *PEERS)


class Job(NamedTuple):
    """A training, by what determines it."""

    corpus: str
    sentences: int
    draw: int
    system: str
    seed: int


def plan() -> Iterator[Job]:
    """Yield all trainings, with all systems and sizes before other seeds."""
    for seed in SEEDS:
        sizes, systems = (SIZES, SYSTEMS) if seed == 1 else ((100,), ("slotfill",))
        for system, draw, sentences, corpus in product(systems, DRAWS, sizes, CORPORA):
            yield Job(corpus, sentences, draw, system, seed)


def read_scores() -> dict[Job, dict[str, Any]]:
    """Return what has been measured."""
    lines = TARGET.read_text(encoding="utf-8").splitlines() if TARGET.exists() else []
    rows = map(json.loads, lines)
    return {Job(*(row.pop(name) for name in Job._fields)): row for row in rows}


def measure(job: Job) -> None:
    """Train a system on the sentences of a job, and add its test F1 to the scores."""
    log(f"training {' '.join(map(str, job))}")
    folder = write_sample(job.corpus, job.sentences, job.draw)
    began = sum(os.times()[:4])
    with TemporaryDirectory() as room:
        if job.system in CONFIGS:
            settings = {"data.path": str(folder), "train.seed": job.seed, "train.processes": 1}
            tagger = slotfill.train(None, settings | CONFIGS[job.system], out=Path(room, "run"))
            f1 = tagger.scores["test"].overall.f1
        else:
            f1 = train_peer(PEERS[job.system], folder, Path(room))
    row = job._asdict() | {
        "f1": round(f1, 3),
        "cpu_seconds": round(sum(os.times()[:4]) - began, 1),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    with TARGET.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(row)}\n")


def train_peer(peer: str, folder: Path, room: Path) -> float:
    """Train a peer on the sentences in `folder`, and return its test F1."""
    shutil.copytree(folder, room, dirs_exist_ok=True)
    blocks = (room / "test.conll").read_text(encoding="utf-8").strip().split("\n\n")
    lines = [" ".join(row.split("\t")[0] for row in block.split("\n")) for block in blocks]
    (room / "test.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    request = {"do": "throughput", "input": str(room / "test.txt"), "output": str(room / "out")}
    for command, text in (
        (peer_command(peer, "train", room, room / "model"), ""),
        (peer_command(peer, "predict", room / "model"), f"{json.dumps(request)}\n"),
    ):
        subprocess.run(command, input=text, check=True, capture_output=True, text=True)
    return float(score(room / "test.conll", room / "out")["f1"])


def main() -> None:
    """Measure what is missing of the chosen trainings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CORPORA, default=CORPORA)
    parser.add_argument("--sentences", nargs="+", type=int, choices=SIZES, default=SIZES)
    parser.add_argument("--draws", nargs="+", type=int, choices=DRAWS, default=DRAWS)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    args = parser.parse_args()
    chosen = (args.only, args.sentences, args.draws, args.systems, args.seeds)
    missing = [job for job in plan() if all(map(contains, chosen, job))]
    missing = [job for job in missing if job not in read_scores()]
    for job in missing:
        measure(job)
    if missing:
        depends = (*BILSTM_CRF, "slotfill/data/static_table.py", "benchmarks/peers")
        record("docs/few_sentences.md", "python benchmarks/few_sentences.py", *depends)


if __name__ == "__main__":
    main()
