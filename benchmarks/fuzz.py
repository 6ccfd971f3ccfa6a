"""Fuzzing: random input for everything that reads what a user or a stranger has written.

    python benchmarks/fuzz.py                              # list the targets
    python benchmarks/fuzz.py vocab config --seconds 60    # fuzz these, or all
    python benchmarks/fuzz.py all --inputs 1000000         # until each has had so many in all
    python benchmarks/fuzz.py all --unguided               # more inputs, of what is kept
    python benchmarks/fuzz.py vocab --reproduce FILE       # one input, with its traceback

A target may accept an input or refuse it with errors of one line each. Anything else is a finding:
another exception, more than a second of computing, or what was written is not read back the same.
Inputs are mutations of examples, kept if they reach new code (Atheris, pip install atheris; Linux
only). The next run goes on with what is kept, in build/fuzz/corpus, and with another seed;
build/fuzz has each finding. To report which code is reached takes half of the time or more:
--unguided mutates what is kept without it, and keeps nothing. benchmarks/fuzz.json adds up the
inputs of all runs and the seconds of CPU that they took, and has the inputs per second of the last.
tests/test_fuzz.py runs every target on its examples and on the inputs in tests/fuzz.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import random
import resource
import signal
import sys
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from measured import record

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_suffix(".json")
FUZZING = __name__ == "__main__" and "--reproduce" not in sys.argv and len(sys.argv) > 1
GUIDED = FUZZING and "--unguided" not in sys.argv

if FUZZING:
    import atheris


def instrumented() -> Any:
    """Within the block, imported modules of slotfill report the code that they run."""
    return atheris.instrument_imports(include=["slotfill"]) if GUIDED else nullcontext()


with instrumented():
    from fuzzing.base import Target, check
    from fuzzing.mutations import mutate
    from fuzzing.targets import make_targets


@dataclass
class Count:
    """What a worker counts, and writes down now and then."""

    target: str
    run: int
    """The number of this run, from which its seed is made."""
    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    """Seconds of CPU for all."""
    slowest: float = 0.0
    """Seconds of computing for one input."""
    memory: float = 0.0
    """Megabytes at the most."""
    findings: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


def work(target: Target, options: argparse.Namespace, folder: Path, count: Count) -> None:
    """Fuzz one target in this process, which ends here."""
    name, scratch, written = count.target, folder / "scratch", 0.0
    scratch.mkdir()
    logging.disable()
    os.fsync = lambda file: None  # What is written is gone soon.

    def note(data: bytes, problem: str) -> None:
        if problem not in count.findings and len(count.findings) < 20:
            path = options.findings / f"{name}-{sha256(problem.encode()).hexdigest()[:8]}"
            path.write_bytes(data)
            count.findings[problem] = path.name
            print(f"{path}: {problem}", flush=True)

    def use(data: bytes) -> float:
        """Return the seconds of CPU that an input takes."""
        began = time.process_time()
        try:
            count.accepted += check(target, data, scratch)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            problem = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            reason = f": {error}"[:80] if isinstance(error, AssertionError) else ""
            note(data, problem + reason)
        return time.process_time() - began

    def test(data: bytes) -> None:
        nonlocal written
        taken = use(data)
        if taken > 1:  # Now and then the machine is to blame.
            taken = min(taken, use(data))
        count.slowest = max(count.slowest, taken)
        if taken > 1:
            note(data, "more than a second")
        now = time.process_time()
        count.inputs += 1
        if now - written > 0.2 or count.inputs == options.inputs:
            written = now
            count.seconds = now - start
            count.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            draft = folder / "draft"
            draft.write_text(json.dumps(vars(count)))
            draft.replace(folder / "count.json")
        if options.seconds and now - start > options.seconds:
            os._exit(0)

    def mutate_input(data: bytes, max_size: int, seed: int) -> bytes:
        if GUIDED and seed % 4 == 0:
            return bytes(atheris.Mutate(data, max_size))
        draw = random.Random(seed)
        if not GUIDED:
            data = draw.choice(kept)
        elif seed % 4 == 1:  # Most of what is kept is refused early.
            data = draw.choice(target.seeds)
        return mutate(data, draw)[:max_size]

    target.seeds += target.make_seeds()
    for seed in (*target.seeds, b"?"):  # What is imported now takes no time later.
        check(target, seed, scratch)
    corpus = options.findings / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"example-{number}").write_bytes(seed)
    kept = [path.read_bytes() for path in sorted(corpus.iterdir())]
    kept += target.seeds * (len(kept) // len(target.seeds) // 2)
    arguments = [
        "-timeout=600",
        "-rss_limit_mb=4000",
        f"-max_len={target.max_size}",
        "-print_final_stats=0",
        # Two runs of a target at a time have the same number.
        f"-seed={count.run * 100_003 + os.getpid() % 100_003}",
        f"-artifact_prefix={options.findings}/{name}-died-",
    ]
    if options.inputs:
        arguments.append(f"-runs={options.inputs}")
    gc.freeze()
    start = time.process_time()
    atheris.Setup(
        [sys.argv[0], "-verbosity=0", *arguments, str(corpus)], test, custom_mutator=mutate_input
    )
    atheris.Fuzz()


def fuzz(target: Target, options: argparse.Namespace, count: Count) -> dict[str, Any]:
    """Fuzz one target in a process of its own, a fork of this one; return its counts."""
    with TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        process = os.fork()
        if process == 0:
            try:
                with (folder / "stderr").open("w") as errors:
                    os.dup2(errors.fileno(), 2)
                work(target, options, folder, count)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        try:
            _, status = os.waitpid(process, 0)
        except KeyboardInterrupt:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            count.stopped, status = True, 0
        file = folder / "count.json"
        counts: dict[str, Any] = json.loads(file.read_text()) if file.exists() else vars(count)
        if status:
            counts["findings"]["the process has died"] = ""
            print(f"{count.target}: has died: {(folder / 'stderr').read_text()[-2000:]}")
        return counts


def train_small_run(folder: Path, seed: int = 1) -> Path:
    """Train a small run of all that can be in its files; return it."""
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    small = ["embedding=[{name: word, size: 4}, {name: ngrams, size: 4}]"]
    small += ["encoder={name: recurrent, hidden_size: 8}", "train={epochs: 1, batch_size: 64}"]
    small.append(f"train.seed={seed}")
    return train(load_config("taipei", small)[1], RunFolder(folder / "run")).path


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", help="targets, or all")
    parser.add_argument("--seconds", type=float, help="of CPU for each target; 60 without --inputs")
    parser.add_argument("--inputs", type=int, help="that each target is to have had in all runs")
    parser.add_argument("--unguided", action="store_true", help="do not look at the code reached")
    parser.add_argument("--findings", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--reproduce", type=Path, help="run one input")
    parser.add_argument("--run", type=Path, help="a small run; one is trained without")
    options = parser.parse_args()
    wanted = options.inputs
    if not wanted and options.seconds is None:
        options.seconds = 60
    options.findings.mkdir(parents=True, exist_ok=True)
    run = options.run or options.findings / "run"
    if not run.exists():
        train_small_run(options.findings)
    targets = make_targets(run)
    if not options.targets:
        print("\n".join(targets))
        return
    names = list(targets) if options.targets == ["all"] else options.targets
    if options.reproduce:
        with TemporaryDirectory(prefix="fuzz-") as folder:
            print(check(targets[names[0]], options.reproduce.read_bytes(), Path(folder)))
        return
    for name in names:
        earlier = read_results()["targets"].get(name, {})
        if wanted:
            options.inputs = wanted - earlier.get("inputs", 0)
            if options.inputs <= 0:
                continue
        count = Count(name, earlier.get("runs", 0) + 1)
        counts = fuzz(targets[name], options, count)
        problems = len(counts["findings"])
        rate = counts["inputs"] / max(counts["seconds"], 1e-3)
        print(
            f"{name}: {counts['inputs']:,} inputs, {rate:,.0f}/s, {problems} findings", flush=True
        )
        _add(name, counts)
        if count.stopped:
            return
    if options.targets == ["all"]:
        depends = ("data", "config", "runs", "inference", "serve")
        folders = [f"slotfill/{package}" for package in depends]
        record("benchmarks/fuzz.json", "python benchmarks/fuzz.py all", *folders)


def read_results() -> dict[str, Any]:
    """Return the results of all earlier runs."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"targets": {}}


def _add(name: str, counts: dict[str, Any]) -> None:
    """Add the counts of a target to those of earlier runs."""
    results = read_results()
    old = results["targets"].get(name, {})
    results["targets"][name] = {
        "runs": counts["run"],
        "inputs": old.get("inputs", 0) + counts["inputs"],
        "unguided": old.get("unguided", 0) + (0 if GUIDED else counts["inputs"]),
        "accepted": old.get("accepted", 0) + counts["accepted"],
        "seconds": round(old.get("seconds", 0) + counts["seconds"], 1),
        "slowest_seconds": round(max(old.get("slowest_seconds", 0), counts["slowest"]), 2),
        "peak_mb": round(max(old.get("peak_mb", 0), counts["memory"])),
        "findings": len(counts["findings"]),
        "rate": round(counts["inputs"] / max(counts["seconds"], 1e-3)),
    }
    results["date"], results["python"] = date.today().isoformat(), platform.python_version()
    results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    results["atheris"] = version("atheris")
    results["targets"] = dict(sorted(results["targets"].items()))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
