"""Write the figures of docs/reliability.md from those of the harnesses.

    python scripts/make_reliability_docs.py          # write them
    python scripts/make_reliability_docs.py --check  # only say whether they are current

The harnesses are benchmarks/covered.py, crash.py, damage.py, fuzz.py, load.py, mutation.py and
versions.py, which write a .json each.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"


def read(name: str) -> dict[str, Any]:
    """Return the results of a harness; nothing if it was not run."""
    path = ROOT / "benchmarks" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def describe_machine(results: dict[str, Any]) -> str:
    return f"{results['date']}, Python {results['python']}, {results['machine']}."


def crashes() -> str:
    """Return the table of commands that were stopped, and that of random kills."""
    results = read("crash")
    rows = [
        [f"`{name}`", *(f"{counts[key]:,}" for key in ("operations", "kills", "errors"))]
        for name, counts in results.get("commands", {}).items()
    ]
    parts = [table(["command", "operations on files", "kills", "full disks"], rows)]
    for counts in results.get("random", {}).values():
        parts.append(
            f"At random, with `train.processes={counts['processes']}`:"
            f" {counts['kills']} kills, and {counts['trainings']} equal results."
        )
    return "\n\n".join([*parts, describe_machine(results)]) if rows else "Not run yet."


def damage() -> str:
    """Return the table of flipped bits, and what verification costs."""
    results = read("damage")
    if not results:
        return "Not run yet."
    rows = [
        [f"`{name}`", f"{counts['flipped']:,}", f"{counts['detected']:,}"]
        for name, counts in results["flips"].items()
    ]
    exchanged, cost = results["exchanged"], results["cost"]
    every = "Every byte" if results["every"] == 1 else f"One byte in {results['every']}"
    return "\n\n".join(
        [
            table(["file", "bits flipped", "detected"], rows),
            f"{every} of each file. Of {exchanged['files']} files exchanged with those of another"
            f" run, {exchanged['detected']} were detected. Loading a run of {cost['megabytes']} MB"
            f" takes {cost['load_ms']} ms, of which checksums are {cost['verify_ms']} ms.",
            describe_machine(results),
        ]
    )


def fuzzing() -> str:
    """Return the table of fuzzed inputs."""
    results = read("fuzz")
    if not results:
        return "Not run yet."
    rows = [
        [
            f"`{name}`",
            f"{counts['inputs']:,}",
            f"{counts.get('unguided', 0):,}",
            f"{counts['accepted']:,}",
            f"{counts['slowest_seconds']:.2f} s",
            f"{counts['rate']:,}" if "rate" in counts else "",
        ]
        for name, counts in results["targets"].items()
    ]
    total = sum(counts["inputs"] for counts in results["targets"].values())
    head = ["target", "inputs", "unguided", "accepted", "slowest", "inputs per second of CPU"]
    return "\n\n".join(
        [
            f"{total:,} inputs so far, with Atheris {results['atheris']}:",
            table(head, rows),
            describe_machine(results),
        ]
    )


LOADS = {
    "stream": "{sentences:,} sentences streamed through `predict`",
    "mixed": "{sentences:,} sentences of 1 to 20,000 tokens, mixed; one of 50,000 is refused",
    "predictors": "8 processes predict with one run, {sentences:,} sentences in all",
    "train": "training on {sentences:,} sentences with `data.streaming`, 1 process",
    "train, 2 processes": "training on {sentences:,} sentences with `data.streaming`, 2 processes",
    "train in memory": "training on {sentences:,} sentences in memory, 1 process",
    "train in memory, 2 processes": "training on {sentences:,} sentences in memory, 2 processes",
    "serve": "`serve` with as many requests as it can answer: {requests:,}",
    "replace": "a run replaced {replaced} times while 8 clients predict, {requests:,} requests",
}
"""What each scenario of benchmarks/load.py does, in the order of the table."""


def load() -> str:
    """Return the table of loads, and how overload was answered."""
    results = read("load")
    if not results:
        return "Not run yet."
    rows, parts = [], []
    for name in [name for name in LOADS if name in results]:
        counts = results[name]
        megabytes = [counts.get("early_mb"), counts["peak_mb"]]
        rows.append(
            [
                LOADS[name].format_map(counts),
                f"{counts['seconds']:,.0f}",
                *(f"{each:,} MB" if each else "" for each in megabytes),
                str(counts["failures"]),
            ]
        )
        if "overload" in counts:
            answers = (f"{number:,} with {each}" for each, number in counts["overload"].items())
            parts.append(
                f"Then 64 clients sent 100 texts a request, more than may wait: the answers were"
                f" {', '.join(answers)}, with at most {counts['overload_peak_mb']:,} MB."
            )
    head = ["load", "seconds", "memory in the first quarter", "peak", "failures"]
    last = max(results.values(), key=lambda counts: str(counts["date"]))
    return "\n\n".join([table(head, rows), *parts, describe_machine(last)])


def covered() -> str:
    """Return the table of lines and branches that the tests run, by package."""
    results = read("covered")
    if not results:
        return "Not run yet."
    packages = results["packages"]
    total = {key: sum(each[key] for each in packages.values()) for key in packages["cli"]}
    rows = []
    for name, counts in [*((f"`{name}`", each) for name, each in packages.items()), ("all", total)]:
        row = [name]
        for kind in ("lines", "branches"):
            share = 100 * counts[f"run_{kind}"] / max(1, counts[kind])
            row += [f"{counts[kind]:,}", f"{share:.1f} %"]
        rows.append(row)
    head = ["package", "lines", "run", "branches", "run"]
    return "\n\n".join([table(head, rows), describe_machine(results)])


def mutation() -> str:
    """Return the table of mutants, and what survivors are left for."""
    results = read("mutation")
    if not results:
        return "Not run yet."
    rows, reasons = [], []
    for name, counts in results["modules"].items():
        tested = counts["mutants"] - counts["untested"]
        share = f"{100 * counts['killed'] / max(1, tested):.1f} %"
        numbers = [counts["mutants"], tested, counts["killed"]]
        rows.append([f"`{name}`", *(f"{number:,}" for number in numbers), share])
        reasons += [f"- `{name}`: {reason}" for reason in counts["equivalent"]]
    parts = [table(["module", "mutants", "tested", "killed", "share"], rows)]
    if reasons:
        parts += ["Survivors that compute the same:", "\n".join(reasons)]
    return "\n\n".join([*parts, f"mutmut {results['mutmut']}. {describe_machine(results)}"])


def versions() -> str:
    """Return the table of Python versions that the tests were run on."""
    results = read("versions")
    if not results:
        return "Not run yet."
    kinds = ("passed", "failed", "errors", "skipped")
    ordered = sorted(results, key=lambda version: [*map(int, version.split("."))])
    rows = [
        [version, *(f"{results[version][kind]:,}" for kind in kinds)]
        + [results[version][key] for key in ("torch", "date", "machine")]
        for version in ordered
    ]
    return table(["Python", *kinds, "torch", "date", "machine"], rows)


def main() -> None:
    old = text = PAGE.read_text(encoding="utf-8")
    parts = {"crash": crashes, "damage": damage, "fuzz": fuzzing, "load": load}
    parts |= {"covered": covered, "mutation": mutation, "versions": versions}
    for name, render in parts.items():
        pattern = rf"(<!-- figures: benchmarks/{name}\.py -->\n).*?(<!-- end -->)"
        new = render().replace("\\", "\\\\")
        text = re.sub(pattern, rf"\g<1>{new}\n\g<2>", text, flags=re.S)
    if "--check" in sys.argv:
        if text != old:
            sys.exit(f"{PAGE}: not current; run scripts/make_reliability_docs.py")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
