"""List the measured pages whose figures may be stale, since what they depend on has changed.

    python scripts/measured.py

A script that measures calls `record` at the end: docs/measured.json then has, for the page, or for
a part of it as PAGE#PART, the command, the date, and a checksum of each file or folder that the
figures depend on. Comments, docstrings and the layout of Python code do not count.
"""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LEDGER = ROOT / "docs" / "measured.json"

DATA = tuple(
    f"slotfill/data/{name}.py"
    for name in ("batching", "indexers", "schemes", "tokenizers", "vocab")
)
BILSTM_CRF = (
    *("slotfill/model/*.py", "slotfill/model/embeddings", "slotfill/model/encoders/recurrent.py"),
    *("slotfill/model/cells/lstm.py", "slotfill/model/taggers/crf.py", "slotfill/model/intents"),
    *("slotfill/training/*.py", "slotfill/evaluation", "slotfill/inference", *DATA),
)
"""What a training with the usual network depends on, and its predictions."""


def record(
    page: str,
    command: str,
    *patterns: str,
    runs: Iterable[Path] = (),
    analysis: Iterable[str] = (),
    parts: Mapping[str, Iterable[Path]] | None = None,
) -> None:
    """Note that the figures of `page` come from the files of these patterns.

    They are the files as they are now, or those of the commit that the oldest of `runs` was trained
    with, since scripts keep runs that they have trained before. Those of `analysis`, which computes
    figures from runs, are always as they are now. `parts` are patterns that only some runs depend
    on.
    """
    on, commit = find_commit(runs)
    checksums = compute_checksums(analysis) | compute_checksums(patterns, commit)
    checksums |= compute_checksums_of_runs(parts or {})
    ledger = json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.exists() else {}
    ledger[page] = {"command": command, "date": on, "depends": checksums}
    # A line for each page, so that two branches that measure different pages can be merged.
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(ledger[key])}" for key in sorted(ledger))
    LEDGER.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def compute_checksums_of_runs(parts: Mapping[str, Iterable[Path]]) -> dict[str, str]:
    """Return the checksum of each pattern in the commit of the oldest of its runs."""
    by_commit: dict[str | None, list[str]] = {}
    for pattern, runs in parts.items():
        by_commit.setdefault(find_commit(runs)[1], []).append(pattern)
    checksums = {}
    for commit, patterns in by_commit.items():
        checksums |= compute_checksums(patterns, commit)
    return checksums


def find_commit(runs: Iterable[Path]) -> tuple[str, str | None]:
    """Return date and commit of the oldest of `runs`; without runs today, and none."""
    made = [json.loads((run / "environment.json").read_text(encoding="utf-8")) for run in runs]
    if not made:
        return str(date.today()), None
    oldest = min(made, key=lambda environment: str(environment["finished"]))
    commit = (oldest.get("commits") or {}).get("slotfill") or "unknown"
    return oldest["finished"][:10], commit.removesuffix("-dirty")


def compute_checksums(patterns: Iterable[str], commit: str | None = None) -> dict[str, str]:
    """Return the checksum of each pattern, of the files as they are now or in a commit."""
    with TemporaryDirectory() as folder:
        root = ROOT
        if commit is not None:
            root = Path(folder)
            archive = ["git", "archive", commit]
            done = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
            if done.returncode == 0:  # Otherwise all files are missing, and so are different.
                subprocess.run(["tar", "-x"], cwd=root, input=done.stdout, check=True)
        return {pattern: compute_checksum(pattern, root) for pattern in patterns}


def compute_checksum(pattern: str, root: Path | None = None) -> str:
    """Return a short checksum of the files that `pattern` matches, and of those in its folders."""
    root = root or ROOT
    matches = sorted(root.glob(pattern))
    files = [file for path in matches for file in ([path] if path.is_file() else path.rglob("*"))]
    checksum = sha256()
    for file in sorted(files):
        if file.is_file() and "__pycache__" not in file.parts:
            checksum.update(f"{file.relative_to(root).as_posix()}\n".encode())
            checksum.update(_normalize(file))
    return checksum.hexdigest()[:12]


def _normalize(file: Path) -> bytes:
    """Return what counts of a file: of Python, the syntax tree without docstrings."""
    content = file.read_bytes()
    if file.suffix != ".py":
        return content
    tree = ast.parse(content)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # Strings that are statements: docstrings, also of fields.
            node.body = [each for each in body if not _is_string(each)]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _is_string(node: Any) -> bool:
    value = getattr(node, "value", None)
    return isinstance(node, ast.Expr) and isinstance(value, ast.Constant)


def find_stale_pages() -> Iterator[str]:
    """Yield a line for each page that depends on what has changed since it was measured."""
    for page, entry in json.loads(LEDGER.read_text(encoding="utf-8")).items():
        changed = [
            pattern
            for pattern, checksum in entry["depends"].items()
            if compute_checksum(pattern) != checksum
        ]
        if changed:
            what = ", ".join(changed[:3]) + (" ..." if len(changed) > 3 else "")
            yield f"stale: {page}, measured on {entry['date']}: {what}; {entry['command']}"


if __name__ == "__main__":
    print("\n".join(find_stale_pages()) or "no measured page is stale")
