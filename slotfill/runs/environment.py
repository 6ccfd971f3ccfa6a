"""environment.json: what a run was trained with, so that differences between runs are noticed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slotfill.version import FORMAT, __version__

STARTED_BY = "SLOTFILL_STARTED_BY"
"""The variable with the name of the command that trains a run in another process.

That process ends when its standard input does."""


def environment() -> dict[str, Any]:
    """Return what a run was trained with: versions, machine, time."""
    import torch

    packages = ["torch", "onnxruntime", "numpy", "safetensors"]
    packages += [name for name in ("transformers", "gensim") if name in sys.modules]
    return {
        "format": FORMAT,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        **({"started_by": os.environ[STARTED_BY]} if os.environ.get(STARTED_BY) else {}),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "versions": {"slotfill": __version__, **{name: _version(name) for name in packages}},
        "code": _code(),
        "commits": {"slotfill": _own_commit(), "folder": _commit(Path.cwd())},
    }


_version = cache(version)


def _processor() -> str:
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


@cache
def _code() -> str:
    """Return a checksum of the package's Python files when this process asked first."""
    package = Path(__file__).parents[1]
    checksum = sha256()
    for file in sorted(package.rglob("*.py")):
        checksum.update(file.relative_to(package).as_posix().encode())
        checksum.update(file.read_bytes())
    return checksum.hexdigest()[:12]


@cache
def _own_commit() -> str | None:
    """Return the commit of slotfill when this process asked first: its code is imported."""
    return _commit(Path(__file__).parent)


def _commit(folder: Path) -> str | None:
    """Return the Git commit of `folder`, with `-dirty` if it has changes; None without Git."""
    is_in_repository = any((each / ".git").exists() for each in (folder, *folder.parents))
    if not is_in_repository and "GIT_DIR" not in os.environ:
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def list_differences(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what may change results and differs, such as `torch (2.12.1, 2.13.0)`."""
    found: dict[str, dict[str, None]] = {}
    has_code = all("code" in each for each in environments)
    for each in environments:
        values = {**_mapping(each, "versions"), "Python": each.get("python")}
        if has_code:
            values["code of slotfill"] = each["code"]
        else:
            values["commit of slotfill"] = _mapping(each, "commits").get("slotfill")
        values["processor"] = each.get("processor")
        for name, value in values.items():
            found.setdefault(name, {})[str(value or "unknown")] = None
    return [f"{name} ({', '.join(values)})" for name, values in found.items() if len(values) > 1]


def _mapping(environment: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = environment.get(key)
    return value if isinstance(value, Mapping) else {}
