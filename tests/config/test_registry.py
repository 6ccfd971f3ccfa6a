"""The registry: part files are parsed, not executed, until a part is built; user-defined parts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import start

import slotfill
from slotfill.config.builtin import load_config
from slotfill.config.registry import CELLS, REGISTRIES, REQUIRED, Registry, trust_external_parts
from slotfill.config.validate import parse_config
from slotfill.errors import ConfigError, RunError
from slotfill.runs.folder import RunFolder
from slotfill.runs.load import load_run
from slotfill.runs.train import train

OWN = '''"""A custom cell that forgets everything.

Source: nobody, "Nothing",
    Nowhere 3
"""

from pathlib import Path

import torch

from slotfill.model.cells.base import Cell
from slotfill.config.option_types import Positive

with Path(__file__).with_name("executed").open("a") as file:
    file.write("once\\n")


class Forgetful(Cell):
    """See the input only."""

    def __init__(
        self, input_size: int, hidden_size: int, directions: int = 1, *, gain: Positive = 1.0
    ) -> None:
        super().__init__(input_size, hidden_size, directions, num_gates=1)
        self.gain = gain

    def step(self, projected, state):
        recurrent = torch.baddbmm(projected, state[0], self.recurrent_weight)
        h = torch.tanh(self.gain * projected) + 0 * recurrent
        return h, (h,)
'''


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_files_of_a_folder_are_its_parts(kind):
    registry = REGISTRIES[kind]
    files = {path.stem for path in registry.folder.glob("[!_]*.py")} - {"base"}
    assert set(registry.names()) == files != set()
    for name in registry.names():
        part = registry.part(name)
        assert part.summary.endswith(".")
        assert part.load().__name__ == part.class_node.name
        assert "\n" not in part.summary + part.source


def test_unknown_part_suggests_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"^unknown cell 'gruu'; did you mean 'gru'\? \(allowed: .*gru.*\)$"
    ):
        CELLS.part("gruu")
    # A name is not a path: what begins with _ or lies elsewhere is no part.
    for name in ("_cell", "../encoders/recurrent", "__init__", ""):
        with pytest.raises(ConfigError, match=r"^unknown cell"):
            CELLS.part(name)


def test_options_are_the_keyword_only_arguments(tmp_path):
    (tmp_path / "odd.py").write_text(
        "class _Hidden: pass\nclass Odd:\n    def __init__(self, size, vocab=None, *, depth: int,"
        " names: list[str] = ['a'], limit: int | None = None,\n                 mode: Literal['x',"
        " 'y'] = 'x', cell: CellPart = 'lstm', rate: Fraction = 0.5): pass\n"
    )
    options = CELLS.part(str(tmp_path / "odd.py")).options
    assert list(options) == ["depth", "names", "limit", "mode", "cell", "rate"]
    assert options["depth"].default is REQUIRED
    assert options["names"].default == ["a"]
    assert options["limit"].type == int | None
    assert options["cell"].part_kind == "cell"
    assert options["rate"].part_kind is None


def test_missing_required_option_is_reported(desk, cli):
    Path("odd.py").write_text(
        "class Odd:\n    def __init__(self, *, depth: int, mode: Literal['x', 'y']): pass\n"
    )
    Path("c.yaml").write_text(
        "encoder:\n  name: recurrent\n  cell:\n    name: odd.py\n    mode: z\n"
    )
    assert cli("show", "c.yaml").err.splitlines() == [
        "slotfill: c.yaml:3: encoder.cell.depth: is needed and not given",
        "slotfill: c.yaml:5: encoder.cell.mode: unknown value 'z' (allowed: x, y)",
    ]


def test_the_same_name_in_two_folders_is_two_parts(tmp_path):
    for folder, name in (("a", "First"), ("b", "Second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cell.py").write_text(f"class {name}: pass\n")
    with trust_external_parts():
        found = [CELLS.part(str(tmp_path / folder / "cell.py")).load().__name__ for folder in "ab"]
    assert found == ["First", "Second"]


def test_user_defined_part_is_validated_without_executing_it_and_trains(desk, cli, caplog):
    Path("mine").mkdir()
    Path("mine/my_cell.py").write_text(OWN)
    Path("mine/c.yaml").write_text(
        "data: {path: corpus}\nembedding: {name: word, size: 8}\ntrain: {epochs: 1}\nencoder:"
        " {name: recurrent, layers: 2, hidden_size: 4, cell: {name: ./my_cell.py, gain: 2}}\n"
    )
    part = CELLS.part("mine/my_cell.py")
    assert (part.summary, part.source) == (
        "A custom cell that forgets everything.",
        'nobody, "Nothing", Nowhere 3',
    )
    assert (
        cli("show", "mine/c.yaml", "encoder.cell.gain=0").err
        == "slotfill: command line: encoder.cell.gain: must be more than 0, found 0\n"
    )
    _, config = load_config("mine/c.yaml")
    assert config.encoder["cell"] == {"name": str(desk / "mine" / "my_cell.py"), "gain": 2.0}
    assert not Path("mine/executed").exists()
    with trust_external_parts():
        train(config, RunFolder(Path("own")), lambda progress: None)
    # Two layers, one execution: both cells are of one class.
    assert Path("mine/executed").read_text() == "once\n"
    assert not caplog.records
    with trust_external_parts():
        model = load_run(Path("own"), engine="torch").engine
        assert [type(layer) for layer in model.encoders[0].layers] == [part.load()] * 2
    # In a separate process, from another folder: one line on standard error, only results on
    # standard output.
    words = ("predict", "../own", "arrive Oslo")
    _, err = start(*words, cwd="mine").communicate()
    assert err == b"", "ONNX Runtime computes it without the file"
    process = start(*words, "--engine", "torch", "--trust", cwd="mine")
    out, _ = process.communicate()
    assert (process.returncode, json.loads(out)["text"]) == (0, "arrive Oslo")

    Path("mine/my_cell.py").unlink()
    assert cli("predict", "own", "arrive Oslo").code == 0
    result = cli("predict", "own", "arrive Oslo", "--engine", "torch", "--trust")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert f"encoder.cell.name: there is no file {desk / 'mine' / 'my_cell.py'}" in result.err


def test_user_defined_part_that_fails_names_the_line(tmp_path):
    path = tmp_path / "failing.py"
    path.write_text("import math\n\nclass A:\n    size = math.nothing\n")
    with trust_external_parts(), pytest.raises(RunError) as error:
        CELLS.build(str(path))
    assert str(error.value).startswith(
        f"{path}:4: running it failed with AttributeError: module 'math' has no"
    )


def test_a_registry_answers_without_importing_its_parts():
    code = (
        "import sys\nfrom slotfill.config.registry import REGISTRIES\n"
        "for registry in REGISTRIES.values():\n"
        "    for name in registry.names():\n"
        "        registry.part(name).options, registry.part(name).summary\n"
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert isinstance(slotfill.config.registry.ENCODERS, Registry)


def test_a_part_that_is_its_own_part_is_one_error(tmp_path):
    path = tmp_path / "mine.py"
    code = 'class A:\n    """A."""\n    def __init__(self, *, cell: CellPart="{}"): pass\n'
    path.write_text(code.format(path))
    with pytest.raises(ConfigError, match=r"encoder(\.cell)+: parts are nested more than 10 deep$"):
        parse_config(f"encoder: {{cell: {path}}}\n", "c.yaml")
