"""slotfill as a worker of the benchmarks, with the protocol of peers/worker.py.

    python benchmarks/slotfill_worker.py RUN

`throughput` and `latency` are without confidences, as the peers have none, or with "confidence":
"yes". Besides it answers {"do": "stages", "input": FILE}: the microseconds a
token of each stage between a line and its answer, and {"do": "peak"}: the billions of operations a
second of a product of matrices.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import slotfill
from slotfill.config.registry import FORMATS
from slotfill.data.batching import bucket_batches, make_batch
from slotfill.files import read_lines
from slotfill.inference.decoding import decode
from slotfill.inference.onnx_engine import OnnxEngine
from slotfill.inference.tagging import BATCH_SIZE, BATCH_TOKENS
from slotfill.runs.predict import CHUNK, Predictor

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from worker import latency, serve


def texts(path: str) -> list[str]:
    """Return the lines of a file."""
    return [text for _, text in read_lines(Path(path))]


class Worker:
    """Answers requests with a run."""

    def __init__(self, run: Path) -> None:
        self.predictor: Predictor = slotfill.load(run, confidence=False)
        self.predictors = {"no": self.predictor, "yes": Predictor(self.predictor.run)}

    def throughput(self, input: str, output: str, confidence: str = "no") -> dict[str, Any]:
        """Tag the lines of `input` into `output` as `slotfill predict` does, and time it."""
        sentences = tokens = 0
        for text in texts(input):
            sentences += 1
            tokens += len(self.predictor.run.vocab.tokenizer.tokenize(text).tokens)
        start = time.perf_counter()
        with Path(output).open("w", encoding="utf-8") as target:
            lines = (text for _, text in read_lines(Path(input)))
            target.writelines(self.predictors[confidence].render_stream(lines, "jsonl"))
        return {"seconds": time.perf_counter() - start, "sentences": sentences, "tokens": tokens}

    def latency(self, input: str, confidence: str = "no") -> dict[str, Any]:
        """Tag each line of `input` alone, and tell how long each took."""
        predictor = self.predictors[confidence]

        def predict(given: list[str]) -> list[tuple[str, list[str], list[Any]]]:
            # Slots come with their words and characters: nothing is left for the protocol's worker
            # to fill in.
            return [(prediction.text, [], []) for prediction in predictor.predict(given)]

        return latency(predict, input)

    def stages(self, input: str) -> dict[str, Any]:
        """Tag the lines of `input` on one thread; return microseconds per token of each stage."""
        engine = self.predictor.run.engine
        assert isinstance(engine, OnnxEngine)
        part, seconds, tokens = FORMATS.build("jsonl"), Counter[str](), 0
        lines = texts(input)
        last = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal last
            now = time.perf_counter()
            seconds[stage] += now - last
            last = now

        for first in range(0, len(lines), CHUNK):
            sentences = [
                self.predictor.run.vocab.tokenizer.tokenize(text)
                for text in lines[first : first + CHUNK]
            ]
            lap("tokens")
            for indices in bucket_batches(
                [len(sentence.tokens) for sentence in sentences],
                BATCH_SIZE,
                max_tokens=BATCH_TOKENS,
            ):
                batch = make_batch([sentences[index].tokens for index in indices], engine.indexers)
                lap("vectors")
                emissions = engine.emissions(batch)
                lap("network")
                paths = decode(emissions, batch.lengths, engine.transitions)
                lap("decoder")
                for index, path in zip(indices, paths, strict=True):
                    sentences[index].slots = self.predictor.run.vocab.tags_to_slots(path)
                tokens += int(batch.lengths.sum())
                lap("slots")
            "".join([part.render(sentence, scheme="iob2") for sentence in sentences])
            lap("JSON")
        return {stage: 1e6 * duration / tokens for stage, duration in seconds.items()}

    def peak(self) -> dict[str, Any]:
        """Return the peak GFLOP/s of a product of two float32 matrices of 1,024 x 1,024."""
        a, b = np.random.default_rng(0).random((2, 1024, 1024), np.float32)
        rates = []
        for _ in range(7):
            start = time.perf_counter()
            a @ b
            rates.append(2 * 1024**3 / (time.perf_counter() - start) / 1e9)
        return {"gflops": max(rates)}


if __name__ == "__main__":
    worker = Worker(Path(sys.argv[1]))
    serve({name: getattr(worker, name) for name in ("throughput", "latency", "stages", "peak")})
