"""Imports go one way only, and what stands around the network never imports torch; also the import-direction check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "slotfill"

# Each module may import those on the lines above its own; a folder of parts is one entry.
ORDER = """
errors sentence dropout trace memory
options schemes text yaml_text loop stream vectors
registry lookup
vocab engine batch
formats config decode score faults
check schema onnx_engine tagging export.dim export.graph
corpus recipes export.shapes
splits
embeddings cells
encoders
taggers intents export.operators
pace
model export.recorder
committee language_model
run export.network export.narrow
evaluate run_folder timing weights
workers optimizer
training
train predict export export.run
display
app
lab lab.new_file lab.significance lab.inspect lab.probe
lab.compare lab.heat_map lab.figures
lab.comparison lab.heat_map_page lab.study
lab.tune
lab.tuned
lab.commands
cli
__main__
"""
RANKS = {name: rank for rank, line in enumerate(ORDER.split("\n")) for name in line.split()}

# What is read, written, looked up and decoded around the network, in plain Python and NumPy.
WITHOUT_TORCH = """
errors sentence options schemes text yaml_text registry lookup vocab formats config check schema batch decode score
faults corpus recipes splits pace run tagging run_folder evaluate predict engine onnx_engine stream
vectors
display app lab lab.new_file lab.significance lab.heat_map lab.heat_map_page lab.commands
cli
"""

# Which modules may import torch; run and cli only in the functions that need a network.
WITH_TORCH = """
dropout trace loop embeddings cells encoders taggers intents model committee language_model timing weights
workers optimizer
export.shapes export.operators export.recorder export.network export.narrow training train run run_folder app
lab.inspect lab.probe lab.compare
"""


def modules() -> dict[str, Path]:
    """The file of every module: `slotfill`, `slotfill.cells.lstm`, ..."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The entry of `ORDER` that a module belongs to; those of the lab and of export stand each for itself."""
    parts = module.split(".")[1:]
    return ".".join(parts) if parts[0] in ("lab", "export") else parts[0]


def imports(path: Path, package: str = "slotfill") -> list[tuple[int, str]]:
    """The line and name of every module of `package` that a file imports, in functions too, not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write the whole name"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.append((node.lineno, inner if inner in MODULES else str(node.module)))
    return [(line, name) for line, name in found if name.split(".")[0] == package]


def fault(importer: str, imported: str) -> str | None:
    """What is wrong about one module importing another, if anything is."""
    if imported == "slotfill":
        return None  # The version alone, which needs nothing.
    if importer == "slotfill":
        return None if imported == "slotfill.predict" else "the package itself imports nothing but predict, in load()"
    room, other = room_of(importer), room_of(imported)
    if room == other:
        # Within a folder of parts: a part may import what begins with `_`, and nothing imports a part.
        return None if imported.rpartition(".")[2].startswith("_") else "a part is imported by the registry alone"
    if RANKS[other] >= RANKS[room]:
        return f"{other} does not stand above {room} in the order of tests/test_imports.py"
    part = other == imported.split(".")[1] and imported.count(".") == 2
    part &= not imported.rpartition(".")[2].startswith("_")
    return "a part is imported by the registry alone" if part else None


def test_every_module_has_its_place():
    rooms = {room_of(name) for name in MODULES if "." in name}
    assert rooms == set(RANKS)
    assert len(ORDER.split()) == len(RANKS)


def test_imports_go_one_way():
    faults = [
        f"{path.relative_to(ROOT)}:{line}: imports {imported}: {wrong}"
        for importer, path in MODULES.items()
        for line, imported in imports(path)
        if (wrong := fault(importer, imported))
    ]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("slotfill.model", "slotfill.vocab", True),
        ("slotfill.vocab", "slotfill.model", False),
        ("slotfill.run_folder", "slotfill.train", False),
        ("slotfill.run", "slotfill", True),
        ("slotfill.corpus", "slotfill.formats._format", True),
        ("slotfill.corpus", "slotfill.formats.conll", False),
        ("slotfill.cells.lstm", "slotfill.cells._cell", True),
        ("slotfill.cells.lstm", "slotfill.cells.gru", False),
        ("slotfill.cells._cell", "slotfill.encoders._encoder", False),
        ("slotfill", "slotfill.predict", True),
        ("slotfill", "slotfill.train", False),
    ],
)
def test_the_check_itself(importer, imported, allowed):
    assert (fault(importer, imported) is None) == allowed


def test_reads_imports_wherever_they_stand(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "import numpy\n"
        "from slotfill import display, __version__\n"
        "import slotfill.vocab\n"
        "if TYPE_CHECKING:\n"
        "    from slotfill.training import Training\n"
        "def function():\n"
        "    from slotfill.formats._format import lines\n"
    )
    assert sorted(imports(file)) == [
        (3, "slotfill"),
        (3, "slotfill.display"),
        (4, "slotfill.vocab"),
        (8, "slotfill.formats._format"),
    ]


def test_torch_is_for_the_network_alone():
    found = {room_of(name) for name, path in MODULES.items() if imports(path, "torch")}
    assert found <= set(WITH_TORCH.split())


def loaded_by(names: list[str]) -> set[str]:
    """All modules that Python holds after importing `names`."""
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_no_torch_around_the_network():
    names = [name for name in MODULES if name == "slotfill" or room_of(name) in WITHOUT_TORCH.split()]
    assert len(names) > 15
    loaded = loaded_by(names)
    assert set(names) <= loaded
    assert not {"torch", "seqeval", "sklearn"} & loaded


def test_the_first_imports_are_light():
    heavy = {"torch", "numpy", "seqeval", "pydantic", "yaml", "safetensors", "rich.table", "rich.live"}
    assert not heavy & loaded_by(["slotfill", "slotfill.cli"])


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-p", "no:cacheprovider"]))
