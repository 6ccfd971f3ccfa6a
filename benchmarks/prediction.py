"""Prediction side by side with peers: tokens a second, one sentence alone, memory; one core, the
same lines for all.

Throughput is from raw lines in a file to JSON lines in another, start-up left out; latency is in
process, from a text to its slots. F1 is that of what was written, with seed 1; of our own also the
mean over seeds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fixtures
import onnx
from fixtures import CORPORA, ROOM, Worker, in_turn, middle, our_worker, peer_worker, run_of, say
from score import score

REPEATS = 7
SEEDS = (1, 2, 3)
SENTENCES = 5000
RANK = 64
"""Numbers of a token that the first layer reads where weights are in 8 bits, as `slotfill export
--rank` cuts it.
"""


def measure() -> dict[str, Any]:
    """Return the figures of each corpus."""
    return {corpus: _corpus(corpus) for corpus in CORPORA}


def _corpus(corpus: str) -> dict[str, Any]:
    runs = {"best": run_of(corpus), "small": run_of(f"{corpus}-small")}
    runs["small, 8 bits"] = in_8_bits(runs["small"])
    workers: dict[str, Worker] = {name: our_worker(run) for name, run in runs.items()}
    workers["CRFsuite"] = peer_worker("crfsuite", corpus)
    if corpus == "atis":
        # spaCy takes minutes to train and is the slowest by far; one corpus tells it.
        workers["spaCy"] = peer_worker("spacy_ner", corpus)
    say(f"prediction: {corpus}")
    many, each = fixtures.test_lines(corpus, SENTENCES), fixtures.test_lines(corpus, 0)
    written = {name: ROOM / f"{corpus}-{number}.jsonl" for number, name in enumerate(workers)}
    throughputs = in_turn(
        {
            name: lambda worker=worker, out=written[name]: worker.ask(
                "throughput", input=many, output=out
            )
            for name, worker in workers.items()
        },
        REPEATS,
    )
    latencies = in_turn(
        {
            name: lambda worker=worker: worker.ask("latency", input=each)
            for name, worker in workers.items()
        },
        REPEATS,
    )
    gold = CORPORA[corpus] / (
        "test.conll" if (CORPORA[corpus] / "test.conll").is_file() else "test"
    )
    found: dict[str, Any] = {}
    for name in workers:
        tokens = [told["tokens"] / told["seconds"] for told in throughputs[name]]
        alone = [1000 * told["median"] for told in latencies[name]]
        found[name] = {
            "f1": round(score(gold, written[name])["f1"], 2),
            "tokens_per_second": middle(tokens, 0),
            "milliseconds": middle(alone),
            "milliseconds_p99": middle([1000 * told["p99"] for told in latencies[name]]),
            "peak_mb": round(max(told["peak_mb"] for told in throughputs[name]), 1),
        }
    for name in runs:
        worker = workers[name]
        stages = in_turn(
            {"stages": lambda worker=worker: worker.ask("stages", input=many)}, REPEATS
        )["stages"]
        peak = worker.ask("peak")["gflops"]
        operations = operations_a_token(runs[name] / "model.onnx")
        found[name] |= {
            "f1_of_seeds": _f1_of_seeds(corpus, name),
            "stages": {
                stage: middle([told[stage] for told in stages], 3)
                for stage in stages[0]
                if stage != "peak_mb"
            },
            "operations_a_token": operations,
            "gflops": round(operations * found[name]["tokens_per_second"]["median"] / 1e9, 1),
            "gflops_of_the_core": round(peak, 1),
        }
    for worker in workers.values():
        worker.close()
    return found


def _f1_of_seeds(corpus: str, name: str) -> list[float]:
    """Return the test F1 of each seed of one of our recipes, as `slotfill evaluate` tells it."""
    runs = [run_of(corpus if name == "best" else f"{corpus}-small", seed) for seed in SEEDS]
    if name == "small, 8 bits":
        runs = [in_8_bits(run) for run in runs]
    return [round(_evaluated(run), 2) for run in runs]


def _evaluated(run: Path) -> float:
    command = [sys.executable, "-m", "slotfill", "evaluate", str(run), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=fixtures.ROOT)
    return json.loads(done.stdout)["overall"]["f1"]


def in_8_bits(run: Path) -> Path:
    """Return a copy of `run` with weights in 8 bits that reads RANK numbers a token, made first if
    it is not there.
    """
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


def operations_a_token(model: Path) -> int:
    """Return the additions and multiplications of the matrix products that a token needs,
    directions together.
    """
    graph = onnx.load(model).graph
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    operations = 0
    for node in graph.node:
        if "LSTM" in node.op_type or node.op_type in ("GRU", "RNN"):
            operations += sum(2 * _product(sizes[name]) for name in node.input[1:3])
        elif "MatMul" in node.op_type:
            operations += sum(
                2 * _product(sizes[name]) for name in node.input if len(sizes.get(name, [])) == 2
            )
    return operations - _characters(graph, sizes)


def _characters(graph: onnx.GraphProto, sizes: dict[str, list[int]]) -> int:
    """Return what of the products is done once a word, not once a token: those that lead to
    `encode_tokens` alone.
    """
    wanted, operations = {"encode_tokens"}, 0
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            if "MatMul" in node.op_type:
                operations += sum(
                    2 * _product(sizes[name])
                    for name in node.input
                    if len(sizes.get(name, [])) == 2
                )
    return operations


def _product(sizes: list[int]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found
