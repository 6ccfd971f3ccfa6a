"""Which lines and branches of slotfill the default tests run.

    python benchmarks/covered.py             # run the tests, and measure
    python benchmarks/covered.py tests/data  # some of them, which are added to what was measured
    python benchmarks/covered.py tests/training --slow   # the slow ones, too
    python benchmarks/covered.py --missing   # what the last run has left out

Needs coverage, pip install 'coverage>=7.10', and the packages of all extras: tests of those that
are not installed are skipped. Processes that tests start or fork are measured, too, except those
that they kill. Writes benchmarks/covered.json, which docs/reliability.md shows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from datetime import date
from importlib.metadata import version
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "coverage"
RESULTS = Path(__file__).with_suffix(".json")
SETTINGS = """
[run]
branch = true
source = {root}/slotfill
data_file = {folder}/data
parallel = true
patch = subprocess, fork, _exit
disable_warnings = no-data-collected, module-not-imported
[report]
exclude_also =
    if TYPE_CHECKING:
    @overload
    raise NotImplementedError
"""


def coverage(*words: str) -> int:
    """Run coverage; return its exit code."""
    # PyTorch's and pytest's own processes find the settings by the variable.
    settings = FOLDER / "settings.ini"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COVERAGE_RCFILE": str(settings)}
    command = [sys.executable, "-m", "coverage", *words]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tests", nargs="*", help="all without a name")
    parser.add_argument("--processes", default="auto", help="of pytest-xdist; auto: one a core")
    parser.add_argument("--slow", action="store_true", help="tests marked as slow, too")
    parser.add_argument("--missing", action="store_true", help="show what no test runs")
    words = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "settings.ini").write_text(SETTINGS.format(root=ROOT, folder=FOLDER))
    if words.missing:
        sys.exit(coverage("report", "--show-missing", "--skip-covered"))
    if not words.tests:
        coverage("erase")
    options = ["-q", "-n", words.processes, *(["-m", ""] if words.slow else [])]
    failed = coverage("run", "-m", "pytest", *options, *words.tests)
    coverage("combine", "-q", "--append")
    coverage("json", "-q", "-o", str(FOLDER / "coverage.json"))
    files = json.loads((FOLDER / "coverage.json").read_text())["files"]
    packages: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, found in files.items():
        parts = PurePosixPath(name).relative_to("slotfill").parts
        package = packages[parts[0] if len(parts) > 1 else "top level"]
        summary = found["summary"]
        package["lines"] += summary["num_statements"]
        package["run_lines"] += summary["covered_lines"]
        package["branches"] += summary["num_branches"]
        package["run_branches"] += summary["covered_branches"]
    results = {
        "packages": dict(sorted(packages.items())),
        "coverage": version("coverage"),
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
    sys.exit(failed)


if __name__ == "__main__":
    main()
