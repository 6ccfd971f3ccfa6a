"""Mutation tests: change a module in every small way, and see whether the tests near it fail.

    python benchmarks/mutation.py                         # all modules
    python benchmarks/mutation.py schemes --seconds 600   # one, for ten minutes; again, it goes on
    python benchmarks/mutation.py schemes --survivors     # the changes that no test has noticed

Needs mutmut: pip install 'mutmut>=3.8'. It works on a copy in build/mutation. Writes
benchmarks/mutation.json, which docs/reliability.md shows. In it, the list `equivalent` of a module
says which survivors no test can tell from the original, and why: it is written by hand, and kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_suffix(".json")
MODULES = {
    "batching": ("data/batching.py", ["data/test_batching.py"]),
    "decoding": ("inference/decoding.py", ["inference/test_decoding.py"]),
    "metrics": ("evaluation/metrics.py", ["evaluation/test_metrics.py"]),
    "schemes": ("data/schemes.py", ["data/test_schemes.py"]),
    "validate": (
        "config/validate.py",
        [
            "config/test_broken_config.py",
            "config/test_config.py",
            "config/test_continued_config.py",
            "config/test_ranges.py",
        ],
    ),
    "vocab": ("data/vocab.py", ["data/test_vocab.py"]),
}
"""Each module, and the tests near it: no others are run."""
SETTINGS = """
[tool.mutmut]
source_paths = ["slotfill"]
only_mutate = ["slotfill/{module}"]
also_copy = ["configs", "data"]
pytest_add_cli_args = ["-n", "0", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
timeout_constant = 2.0
"""
OUTCOMES = {None: "untested", 2: "untested", 0: "survived", 5: "survived", 33: "survived"}
"""What the exit codes of mutmut mean; 33 is that no test runs the code. With others, tests fail."""


def mutate(name: str, seconds: float) -> dict[str, str]:
    """Test the mutants of a module for at most `seconds`; return the outcome of each."""
    module, tests = MODULES[name]
    folder = ROOT / "build" / "mutation" / name
    folder.mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for part in ("slotfill", "tests", "configs", "data"):
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    settings = SETTINGS.format(module=module, tests=json.dumps([f"tests/{test}" for test in tests]))
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text + settings, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    meta = folder / "mutants" / "slotfill" / f"{module}.meta"
    before = read_outcomes(meta)
    # Which test runs which function, which may have changed with the tests.
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    end = time.monotonic() + seconds

    def run(*names: str) -> None:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names]
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                failed = process.wait(max(0, end - time.monotonic())) != 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGINT)
                process.wait()
                failed = False
        if failed or not meta.exists():
            sys.exit(f"mutmut failed; see {folder / 'log.txt'}")

    run()
    # The tests may be better than when these survived.
    again = [key for key, outcome in read_outcomes(meta).items() if before.get(key) == outcome]
    again = [key for key in again if before[key] == "survived"]
    if again:
        run(*again)
    return read_outcomes(meta)


def read_outcomes(meta: Path) -> dict[str, str]:
    """Return the outcome of each mutant, as mutmut keeps them; nothing before its first run."""
    if not meta.exists():
        return {}
    codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    return {mutant: OUTCOMES.get(code, "killed") for mutant, code in codes.items()}


def show(name: str, mutants: list[str]) -> None:
    """Print what mutants change."""
    folder = ROOT / "build" / "mutation" / name
    for mutant in mutants:
        command = [sys.executable, "-m", "mutmut", "show", mutant]
        print(subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], help="all without a name")
    parser.add_argument("--seconds", type=float, default=3600, help="at most, for each module")
    parser.add_argument("--survivors", action="store_true", help="show what survived")
    words = parser.parse_args()
    saved: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    modules = saved.get("modules", {})
    for name in words.modules or MODULES:
        module = MODULES[name][0]
        if not words.survivors:
            outcomes = mutate(name, words.seconds)
            counts = Counter(outcomes.values())
            survivors = sorted(key for key, outcome in outcomes.items() if outcome == "survived")
            modules[module] = {
                "mutants": len(outcomes),
                "killed": counts["killed"],
                "survived": counts["survived"],
                "untested": counts["untested"],
                "survivors": survivors,
                "equivalent": modules.get(module, {}).get("equivalent", []),
            }
            print(module, dict(counts))
        else:
            show(name, modules[module]["survivors"])
    if not words.survivors:
        results = {
            "modules": dict(sorted(modules.items())),
            "mutmut": version("mutmut"),
            "date": date.today().isoformat(),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        }
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
