"""Damage: flip every byte of every file of a run, and exchange the files of two runs.

    python benchmarks/damage.py             # every byte
    python benchmarks/damage.py --every 50  # every 50th byte

Each must be an error that names the file, when it is read. Also measures what verification costs.
docs/reliability.md shows benchmarks/damage.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz import train_small_run

from slotfill.errors import RunError
from slotfill.runs import manifest
from slotfill.runs.load import load_run
from slotfill.runs.manifest import FILES, MANIFEST, RunFiles

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from measured import record

RESULTS = Path(__file__).with_suffix(".json")


def is_detected(run: Path, name: str) -> bool:
    """Return whether reading a file of the run is an error that names it."""
    try:
        files = RunFiles(run)
        if name != MANIFEST:
            files[name]
    except RunError as error:
        return str(run / name) in str(error)
    return False


def flip_bytes(run: Path, every: int) -> dict[str, dict[str, int]]:
    """Flip a bit of each `every`-th byte of each file; return how many, and those detected."""
    draw, counts = random.Random(0), {}
    for name in FILES:
        if (run / name).exists():
            content, detected = bytearray((run / name).read_bytes()), 0
            indices = range(0, len(content), every)
            for index in indices:
                bit = 1 << draw.randrange(8)
                content[index] ^= bit
                (run / name).write_bytes(content)
                detected += is_detected(run, name)
                content[index] ^= bit
            (run / name).write_bytes(content)
            counts[name] = {"flipped": len(indices), "detected": detected}
    return counts


def exchange(run: Path, other: Path) -> dict[str, int]:
    """Put each file of another run into the run; return how many differ, and are detected."""
    counts = {"files": 0, "detected": 0}
    for name in FILES:
        mine = (run / name).read_bytes() if (run / name).exists() else b""
        theirs = (other / name).read_bytes() if (other / name).exists() else b""
        if mine != theirs and name != MANIFEST:
            (run / name).write_bytes(theirs)
            counts["files"] += 1
            counts["detected"] += is_detected(run, name)
            (run / name).write_bytes(mine)
    return counts


def measure_cost(run: Path) -> dict[str, float]:
    """Return the median milliseconds to load a run, and those that its checksums take."""
    times, spent = [], []
    compute = manifest._entry

    def timed(content: bytes) -> dict[str, object]:
        start = time.perf_counter()
        entry = compute(content)
        spent[-1] += time.perf_counter() - start
        return entry

    manifest._entry = timed
    for _ in range(21):
        spent.append(0.0)
        start = time.perf_counter()
        load_run(run)
        times.append(time.perf_counter() - start)
    manifest._entry = compute
    size = sum(path.stat().st_size for path in run.iterdir())
    return {
        "megabytes": round(size / 1e6, 2),
        "load_ms": round(1e3 * statistics.median(times), 2),
        "verify_ms": round(1e3 * statistics.median(spent), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="flip one of so many bytes")
    every = parser.parse_args().every
    with TemporaryDirectory() as folder:
        (Path(folder) / "other").mkdir()
        run, other = train_small_run(Path(folder)), train_small_run(Path(folder, "other"), seed=2)
        shutil.copytree(run, Path(folder, "copy"))
        results = {
            "flips": flip_bytes(Path(folder, "copy"), every),
            "every": every,
            "exchanged": exchange(Path(folder, "copy"), other),
            "cost": measure_cost(run),
            "date": date.today().isoformat(),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    depends = ("slotfill/files.py", "slotfill/runs", "slotfill/inference")
    record("benchmarks/damage.json", "python benchmarks/damage.py", *depends)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
