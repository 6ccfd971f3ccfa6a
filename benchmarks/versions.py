"""Run the default tests on other Python versions, each in a virtual environment of its own.

    python benchmarks/versions.py python3.12 python3.13

The environments are kept in build/versions, and the results of each version in
benchmarks/versions.json. Where torch has no CPU build for a version, pip fetches the one for GPUs,
of some gigabytes; no GPU is used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOM = ROOT / "build" / "versions"
RESULTS = Path(__file__).with_suffix(".json")
DESCRIBE = """
import platform, torch
print(platform.python_version(), torch.__version__)
"""


def install(python: str) -> Path:
    """Return the interpreter of an environment with the package, which is made if it is missing."""
    version = subprocess.check_output([python, "-V"], text=True).split()[1]
    interpreter = ROOM / version / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", ROOM / version], check=True)
    subprocess.run([interpreter, "-m", "pip", "install", "-qq", f"{ROOT}[test]"], check=True)
    return interpreter


def run_tests(interpreter: Path) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped."""
    path = os.pathsep.join([str(interpreter.parent), os.environ["PATH"]])
    done = subprocess.run(
        [interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    print(done.stdout[-10_000:])
    counts = {"passed": 0, "failed": 0, "skipped": 0, "errors": 0}
    for number, what in re.findall(r"(\d+) (\w+)", done.stdout.strip().splitlines()[-1]):
        name = "errors" if what == "error" else what
        if name in counts:
            counts[name] = int(number)
    return counts


def main() -> None:
    """Run the tests on each version that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    for python in parser.parse_args().pythons:
        interpreter = install(python)
        described = subprocess.check_output([interpreter, "-c", DESCRIBE], text=True).split()
        counts = run_tests(interpreter)
        results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results[described[0]] = {"torch": described[1], **counts, "date": str(date.today())}
        results[described[0]]["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
