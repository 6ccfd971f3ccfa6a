"""Throughput, latency and memory of prediction, for slotfill and its peers on one core.

Throughput is from raw lines in a file to JSON lines in another, without start-up; latency is in
process, from a text to its slots. F1 is that of the written predictions with seed 1, and for
slotfill also the mean over seeds. The peers give no probabilities, so slotfill is compared without
them; what they cost is measured in turn with the rest.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fixtures
import onnx
from fixtures import (
    CORPORA,
    ROOM,
    Worker,
    get_run,
    interleave,
    log,
    start_peer,
    start_worker,
    summarize,
)
from score import score

REPEATS = 7
SEEDS = (1, 2, 3)
SENTENCES = 5000
RANK = 64
"""Rank of the first layer's input in the 8-bit model (`slotfill export --rank`)."""


def measure() -> dict[str, Any]:
    """Return the figures of each corpus."""
    return {corpus: _corpus(corpus) for corpus in CORPORA}


def _corpus(corpus: str) -> dict[str, Any]:
    runs = {"best": get_run(corpus), "small": get_run(f"{corpus}-small")}
    runs["small, 8 bits"] = quantized_run(runs["small"])
    workers: dict[str, Worker] = {name: start_worker(run) for name, run in runs.items()}
    workers["CRFsuite"] = start_peer("crfsuite", corpus)
    if corpus == "atis":
        # spaCy takes minutes to train and is the slowest by far; so only on one corpus.
        workers["spaCy"] = start_peer("spacy_ner", corpus)
    log(f"prediction: {corpus}")
    repeated, each = fixtures.test_lines(corpus, SENTENCES), fixtures.test_lines(corpus, 0)
    written = {name: ROOM / f"{corpus}-{number}.jsonl" for number, name in enumerate(workers)}
    measures = {(name, "no"): worker for name, worker in workers.items()}
    measures |= {(name, "yes"): workers[name] for name in runs}
    throughputs = interleave(
        {key: _throughput(worker, key, repeated, written) for key, worker in measures.items()},
        REPEATS,
    )
    latencies = interleave(
        {key: _latency(worker, key, each) for key, worker in measures.items()}, REPEATS
    )
    gold = CORPORA[corpus] / (
        "test.conll" if (CORPORA[corpus] / "test.conll").is_file() else "test"
    )
    figures: dict[str, Any] = {}
    for name in workers:
        figures[name] = {
            "f1": round(score(gold, written[name])["f1"], 2),
            **_speed(throughputs[name, "no"], latencies[name, "no"]),
            "peak_mb": round(max(answer["peak_mb"] for answer in throughputs[name, "no"]), 1),
        }
    for name in runs:
        worker = workers[name]
        stages = interleave(
            {"stages": lambda worker=worker: worker.ask("stages", input=repeated)}, REPEATS
        )["stages"]
        peak = worker.ask("peak")["gflops"]
        operations = operations_per_token(runs[name] / "model.onnx")
        figures[name] |= {
            "with confidence": _speed(throughputs[name, "yes"], latencies[name, "yes"]),
            "f1_of_seeds": _f1_of_seeds(corpus, name),
            "stages": {
                stage: summarize([answer[stage] for answer in stages], 3)
                for stage in stages[0]
                if stage != "peak_mb"
            },
            "operations_a_token": operations,
            "gflops": round(operations * figures[name]["tokens_per_second"]["median"] / 1e9, 1),
            "gflops_of_the_core": round(peak, 1),
        }
    for worker in workers.values():
        worker.close()
    return figures


def _throughput(
    worker: Worker, key: tuple[str, str], input: Path, written: dict[str, Path]
) -> Callable[[], Any]:
    name, confidence = key
    options = {"confidence": confidence} if confidence == "yes" else {}
    output = ROOM / "with-confidence.jsonl" if options else written[name]
    return lambda: worker.ask("throughput", input=input, output=output, **options)


def _latency(worker: Worker, key: tuple[str, str], input: Path) -> Callable[[], Any]:
    options = {"confidence": "yes"} if key[1] == "yes" else {}
    return lambda: worker.ask("latency", input=input, **options)


def _speed(
    throughputs: list[dict[str, Any]], latencies: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Return the figures of what a worker answered."""
    tokens = [answer["tokens"] / answer["seconds"] for answer in throughputs]
    return {
        "tokens_per_second": summarize(tokens, 0),
        "milliseconds": summarize([1000 * answer["median"] for answer in latencies]),
        "milliseconds_p99": summarize([1000 * answer["p99"] for answer in latencies]),
    }


def _f1_of_seeds(corpus: str, name: str) -> list[float]:
    """Return the test F1 of each seed of one of our configs, from `slotfill evaluate`."""
    runs = [get_run(corpus if name == "best" else f"{corpus}-small", seed) for seed in SEEDS]
    if name == "small, 8 bits":
        runs = [quantized_run(run) for run in runs]
    return [round(_test_f1(run), 2) for run in runs]


def _test_f1(run: Path) -> float:
    command = [sys.executable, "-m", "slotfill", "evaluate", str(run), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=fixtures.ROOT)
    return json.loads(done.stdout)["overall"]["f1"]


def quantized_run(run: Path) -> Path:
    """Return a copy of `run` with 8-bit weights and input rank RANK, created if missing."""
    copy = ROOM / f"{run.name}-int8-rank{RANK}"
    if (
        not copy.is_dir()
        or (copy / "scores.json").read_bytes() != (run / "scores.json").read_bytes()
    ):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        command = [
            sys.executable,
            "-m",
            "slotfill",
            "export",
            str(copy),
            "--quantize",
            "int8",
            "--rank",
            str(RANK),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=fixtures.ROOT)
    return copy


def operations_per_token(model: Path) -> int:
    """Return the operations of the matrix products per token, for both directions."""
    graph = onnx.load(model).graph
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    operations = 0
    for node in graph.node:
        if "LSTM" in node.op_type or node.op_type in ("GRU", "RNN"):
            operations += sum(2 * math.prod(sizes[name]) for name in node.input[1:3])
        elif "MatMul" in node.op_type:
            operations += sum(
                2 * math.prod(sizes[name]) for name in node.input if len(sizes.get(name, [])) == 2
            )
    return operations - _characters(graph, sizes)


def _characters(graph: onnx.GraphProto, sizes: dict[str, list[int]]) -> int:
    """Return the operations per word type instead of per token: those before `encode_tokens`."""
    needed, operations = {"encode_tokens"}, 0
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            if "MatMul" in node.op_type:
                operations += sum(
                    2 * math.prod(sizes[name])
                    for name in node.input
                    if len(sizes.get(name, [])) == 2
                )
    return operations
