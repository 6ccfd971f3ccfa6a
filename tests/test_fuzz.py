"""What fuzzing has found, and the examples it starts from: every input is accepted or refused."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="pip install 'slotfill[serve]'")

before = [*sys.path]
sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
fuzz = import_module("fuzz")
sys.path[:] = before  # Other tests would find its modules, and those that it imports.

INPUTS = sorted(Path(__file__).with_name("fuzz").glob("*/*"))


@pytest.fixture(scope="module")
def targets(trained):
    with pytest.MonkeyPatch.context() as patch:
        for module in ("app", "served_run"):  # As the targets of the service set it.
            patch.setattr(f"slotfill.serve.{module}.HAS_TORCH", False)
        yield fuzz.make_targets(trained)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_that_was_a_finding_is_accepted_or_refused(path, targets, tmp_path):
    fuzz.check(targets[path.parent.name], path.read_bytes(), tmp_path)


def test_every_target_accepts_an_example(targets, tmp_path):
    for name, target in targets.items():
        if name not in ("format-docbin", "openapi"):  # Their packages take seconds to import.
            assert any(fuzz.check(target, seed, tmp_path) for seed in target.seeds), name


def test_mutations_are_of_any_input(targets):
    draw = fuzz.random.Random(0)
    for target in targets.values():
        mutations = {fuzz.mutate((target.seeds or [b""])[0][:1000], draw) for _ in range(30)}
        assert len(mutations) > 10
