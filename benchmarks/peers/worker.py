"""Reading a corpus, and the worker protocol of the benchmarks; standard library only.

A worker reads one JSON request per line from standard input and answers each with one JSON line:

    {"do": "throughput", "input": FILE, "output": FILE}
        -> {"seconds": 1.2, "cpu_seconds": 1.2, "sentences": 5000, "tokens": 51000, "peak_mb": 60.1}
    {"do": "latency", "input": FILE}
        -> {"sentences": 893, "median": 0.0002, "p99": 0.0005, "seconds": [...], "peak_mb": 60.1}

FILE has one sentence per line; the output is JSON lines,
{"text": ..., "slots": [{"name", "value", "start", "end"}]}. The seconds of throughput are measured
from opening the input to closing the output, those of latency from a text to its slots.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

Span = tuple[str, int, int]
"""A slot's name, its first token, and the one after its last."""

Tagger = Callable[[Iterable[str]], Iterable[tuple[str, list[str], list[Span]]]]
"""From texts to each text, its tokens and its spans, in order."""


def corpus(folder: Path, split: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield tokens and tags of each sentence of SPLIT/seq.in and seq.out, or of SPLIT.conll."""
    if (conll := folder / f"{split}.conll").is_file():
        for block in conll.read_text(encoding="utf-8").strip().split("\n\n"):
            rows = [row.split("\t") for row in block.strip().split("\n")]
            yield [row[0] for row in rows], [row[-1] for row in rows]
        return
    words, tags = (
        (folder / split / name).read_text(encoding="utf-8").splitlines()
        for name in ("seq.in", "seq.out")
    )
    for line, labels in zip(words, tags, strict=True):
        yield line.split(), labels.split()


def spans(tags: Iterable[str]) -> list[Span]:
    """Return the slots of IOB2 tags; an I- tag that continues no slot begins one (conlleval)."""
    spans_found: list[Span] = []
    name, start, end = "", 0, 0
    for end, tag in enumerate(tags, 1):
        if tag[0] == "I" and tag[2:] == name:
            continue
        if name:
            spans_found.append((name, start, end - 1))
        name, start = tag[2:], end - 1
    if name:
        spans_found.append((name, start, end))
    return spans_found


def filled(text: str, tokens: list[str], spans_found: list[Span]) -> list[dict[str, Any]]:
    """Return the slots of `text` as they are written, with the characters they stand at."""
    if not spans_found:
        return []
    starts, offset = [], 0
    for token in tokens:
        offset = text.index(token, offset)
        starts.append(offset)
        offset += len(token)
    slots = []
    for name, first, after in spans_found:
        start, end = starts[first], starts[after - 1] + len(tokens[after - 1])
        slots.append({"name": name, "value": text[start:end], "start": start, "end": end})
    return slots


def serve(answers: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer the requests of standard input with the functions `answers` until it ends."""
    for line in sys.stdin:
        request = json.loads(line)
        answer = answers[request.pop("do")](**request)
        print(json.dumps(answer | {"peak_mb": peak_mb()}), flush=True)


def throughput(tagger: Tagger, input: str, output: str) -> dict[str, Any]:
    """Tag the lines of `input` into `output`, and tell how long it took."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    sentences = tokens = 0
    began, busy = time.perf_counter(), time.process_time()
    with (
        Path(input).open(encoding="utf-8") as source,
        Path(output).open("w", encoding="utf-8") as target,
    ):
        for text, words, spans_found in tagger(line.rstrip("\n") for line in source):
            target.write(encode({"text": text, "slots": filled(text, words, spans_found)}) + "\n")
            sentences += 1
            tokens += len(words)
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy}
    return took | {"sentences": sentences, "tokens": tokens}


def latency(tagger: Tagger, input: str) -> dict[str, Any]:
    """Tag each line of `input` alone, and tell how long each took."""
    seconds = []
    for line in Path(input).read_text(encoding="utf-8").rstrip("\n").split("\n"):
        began = time.perf_counter()
        for text, words, spans_found in tagger([line]):
            filled(text, words, spans_found)
        seconds.append(time.perf_counter() - began)
    p99 = sorted(seconds)[int(0.99 * (len(seconds) - 1))]
    return {
        "sentences": len(seconds),
        "median": statistics.median(seconds),
        "p99": p99,
        "seconds": seconds,
    }


def peak_mb() -> float:
    """Return the peak memory of this process in MB; getrusage would include that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def main(train: Callable[[Path, Path], dict[str, Any]], load: Callable[[Path], Tagger]) -> None:
    """Run the command line of a peer: train CORPUS MODEL, predict MODEL, answer MODEL SENTENCE."""
    match sys.argv[1:]:
        case ["train", folder, model]:
            began, busy = time.perf_counter(), time.process_time()
            report = train(Path(folder), Path(model))
            report |= {
                "seconds": time.perf_counter() - began,
                "cpu_seconds": time.process_time() - busy,
            }
            print(json.dumps(report | {"peak_mb": peak_mb()}))
        case ["predict", model]:
            tagger = load(Path(model))
            serve({"throughput": partial(throughput, tagger), "latency": partial(latency, tagger)})
        case ["answer", model, sentence]:
            for text, words, spans_found in load(Path(model))([sentence]):
                print(
                    json.dumps(
                        {"text": text, "slots": filled(text, words, spans_found)},
                        ensure_ascii=False,
                    )
                )
        case _:
            sys.exit(
                f"usage: {sys.argv[0]} train CORPUS MODEL | predict MODEL | answer MODEL SENTENCE"
            )
