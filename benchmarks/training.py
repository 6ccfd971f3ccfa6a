"""Training time of one network of the config `atis` and of CRFsuite, and its share of the peak.

Seconds to the best epoch are those of the complete command, including the start of Python, the
evaluation and the export, without the epochs after the selected one. The arithmetic is counted by
torch's FlopCounterMode over the products of one epoch's forward passes, times 3, since the backward
pass has two products for each, and without the share of padding.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fixtures
from fixtures import (
    CORPORA,
    ROOM,
    Worker,
    get_run,
    interleave,
    log,
    peer_command,
    seconds,
    start_peer,
    summarize,
)
from score import score

REPEATS = 3

PLAIN = ("ensemble_size=1", "intent=null", "embedding=[word, char_cnn]")
"""Overrides that turn the config `atis`, made for the best F1, into one fast BiLSTM-CRF."""


def measure() -> dict[str, Any]:
    """Return the figures of slotfill and CRFsuite."""
    log("training: atis, beside CRFsuite")
    ROOM.mkdir(parents=True, exist_ok=True)
    # Installed, and their files read, before anything is timed.
    get_run("atis")
    worker = start_peer("crfsuite", "atis")
    written = ROOM / "atis-crfsuite-trained.jsonl"
    worker.ask("throughput", input=fixtures.test_lines("atis", 0), output=written)
    worker.close()
    times = interleave({"CRFsuite": _crfsuite, "slotfill": _slotfill}, REPEATS)
    own = times["slotfill"]
    epochs = summarize([epoch for run in own for epoch in run["epochs"]], 3)
    operations = operations_per_epoch()
    gflops = operations / epochs["median"] / 1e9
    peak = peak_of_all_cores()
    return {
        "CRFsuite": {
            "seconds": summarize(times["CRFsuite"], 1),
            "f1": round(score(CORPORA["atis"] / "test", written)["f1"], 2),
        },
        "slotfill": {
            "settings": PLAIN,
            "seconds to best": summarize([run["to best"] for run in own], 1),
            "seconds in all": summarize([run["in all"] for run in own], 1),
            "f1": round(own[0]["f1"], 2),
            "epoch seconds": epochs,
            "operations_an_epoch": operations,
            "gflops": round(gflops, 1),
            "gflops_of_two_cores": round(peak, 1),
            "share": round(gflops / peak, 3),
        },
    }


def _crfsuite() -> float:
    return seconds(peer_command("crfsuite", "train", CORPORA["atis"], ROOM / "atis-again.crfsuite"))


def _slotfill() -> dict[str, Any]:
    path = ROOM / "atis-again"
    shutil.rmtree(path, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "slotfill",
        "train",
        "atis",
        *PLAIN,
        "--seed",
        "1",
        "--out",
        str(path),
    ]
    total = seconds(command, cwd=fixtures.ROOT)
    with (path / "history.csv").open(encoding="utf-8") as file:
        epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
    scores = json.loads((path / "scores.json").read_text(encoding="utf-8"))
    after = sum(epochs[scores["best_epoch"] :])
    f1 = scores["splits"]["test"]["overall"]["f1"]
    return {"to best": total - after, "in all": total, "epochs": epochs[1:], "f1": f1}


def operations_per_epoch() -> int:
    """Return the operations of an epoch's products, forward and backward, on tokens alone."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from slotfill.config.builtin import load_config
    from slotfill.data.splits import read_split
    from slotfill.data.vocab import Vocab
    from slotfill.model.build import build_model
    from slotfill.training.batches import TrainingBatches
    from slotfill.training.defaults import resolve_budget

    config = load_config("atis", PLAIN, need_data=True)[1]
    sentences = read_split(config.data, "train").sentences
    vocab = Vocab.from_sentences(sentences, config.scheme)
    model = build_model(config, vocab)
    batch_size = resolve_budget(config.train, len(sentences)).batch_size
    batches = TrainingBatches(sentences, vocab, model.indexers, config.train, batch_size, 1)
    padded = tokens = 0
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for shard in batches.shards(1):
            assert shard.batch is not None
            model.loss(shard.batch)
            padded += shard.batch.lengths.size * int(shard.batch.lengths.max())
            tokens += int(shard.batch.lengths.sum())
    return int(3 * counter.get_total_flops() * tokens / padded)


def peak_of_all_cores() -> float:
    """Return the GFLOP/s of matrix products on all cores at once, one process per core."""
    cores = sorted(os.sched_getaffinity(0))
    worker = str(Path(__file__).with_name("slotfill_worker.py"))
    workers: list[Worker] = []
    for core in cores:
        fixtures.CORE = core
        workers.append(fixtures.Worker([sys.executable, worker, str(get_run("atis"))]))
    with ThreadPoolExecutor(len(workers)) as pool:
        peaks = list(pool.map(lambda process: process.ask("peak")["gflops"], workers))
    for process in workers:
        process.close()
    return sum(peaks)
