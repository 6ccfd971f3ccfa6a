"""Layers: imports go one way, prediction needs no torch, and the command line starts fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import slotfill

PACKAGE = Path(slotfill.__file__).parent
TORCH_FREE_PACKAGES = ("config", "data", "inference", "evaluation", "cli")
TORCH_FREE_MODULES = [
    "slotfill",
    *(f"slotfill.{name}" for name in ("errors", "extras", "files", "markdown", "version")),
    *(
        f"slotfill.runs.{name}"
        for name in (
            "load",
            "predict",
            "batches",
            "on_ray",
            "evaluate",
            "folder",
            "check",
            "pack",
            "card",
            "hub",
        )
    ),
    *sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for name in TORCH_FREE_PACKAGES
        for path in (PACKAGE / name).rglob("*.py")
    ),
]
HEAVY = {"torch", "numpy", "seqeval", "sklearn", "pydantic", "yaml", "safetensors", "onnxruntime"}
HEAVY |= {"jinja2", "rich.table", "rich.live", "rich.progress"}


def loaded_after(code: str) -> set[str]:
    """Return the modules that a new process has loaded after running `code`."""
    code = f"import sys\nsys.argv = ['slotfill', '--version']\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_torch_free_packages_import_without_torch():
    assert len(TORCH_FREE_MODULES) > 30, "the packages are there"
    code = f"import importlib\nfor name in {TORCH_FREE_MODULES}: importlib.import_module(name)"
    assert not {"torch", "seqeval", "sklearn"} & loaded_after(code)


@pytest.mark.parametrize("module", ["slotfill", "slotfill.cli.main"])
def test_the_first_import_is_light(module):
    loaded = loaded_after(f"import {module}")
    assert module in loaded
    assert not HEAVY & loaded


def test_imports_go_one_way():
    pytest.importorskip("importlinter", reason="pip install '.[dev]'")
    # In this process it would disable the loggers of slotfill.
    code = "import sys; from importlinter.cli import lint_imports as lint\n"
    code += "sys.exit(lint(sys.argv[1], no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code, PACKAGE.parent / "pyproject.toml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
