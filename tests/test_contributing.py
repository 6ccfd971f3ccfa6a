"""The cell of CONTRIBUTING.md can be listed, checked, trained and loaded, and is correct."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import slotfill
import slotfill.model.cells
from slotfill.cli.main import app
from slotfill.config.builtin import load_config
from slotfill.config.registry import CELLS, ENCODERS, trust_external_parts
from slotfill.config.validate import parse_config
from slotfill.errors import ConfigError, SlotfillError
from slotfill.model.recurrence import run_cell

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SENTENCES = "".join(
    f"{verb} [{city}]({slot}) today\n"
    for city in ("Taipei", "Tainan", "New York", "Oslo")
    for verb, slot in (("arrive", "destination"), ("leave", "origin"))
)


@pytest.fixture
def cell(tmp_path, monkeypatch) -> Iterator[Path]:
    """The page's code block as the file mgu.py in the current folder."""
    (block,) = re.findall(r"^```python mgu\.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mgu.py"
    path.write_text(block, encoding="utf-8")
    with trust_external_parts():
        yield path


def slotfill_command(*words: str) -> str:
    """Run the command line in this process; return what it printed."""
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_cell_trains_and_predicts(cell, tmp_path):
    for split in ("train", "valid"):
        (tmp_path / f"{split}.brackets").write_text(SENTENCES, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        "data: {path: .}\ntrain: {epochs: 1, batch_size: 2}\n", encoding="utf-8"
    )
    small = ["encoder.hidden_size=4", "embedding=word"]
    slotfill_command(
        "train", "mine.yaml", "encoder.cell=./mgu.py", "--trust", *small, "--out", "run",
        "--device", "cpu",
    )  # fmt: skip
    loaded = slotfill.load("run", engine="torch", trust=True)
    assert type(loaded.run.engine.encoders[0].layers[0]).__name__ == "MGU"
    assert [answer.text for answer in loaded.predict(["leave Oslo"])] == ["leave Oslo"]
    # The path in the saved config is absolute: the run works from any folder.
    assert loaded.run.config.encoder["cell"] == {"name": str(cell), "gate_bias": 0.0}


def test_option_is_validated(cell):
    shown = slotfill_command(
        "show", "taipei", "encoder.cell.name=./mgu.py", "encoder.cell.gate_bias=-1"
    )
    assert "gate_bias: -1" in shown
    messages = {
        "encoder.cell.gate_bias=high": (
            "command line: encoder.cell.gate_bias: must be a number, found 'high'"
        ),
        "encoder.cell.gate_bais=1": (
            "command line: encoder.cell.gate_bais: unknown key; did you mean 'gate_bias'?"
        ),
    }
    for override, message in messages.items():
        with pytest.raises(ConfigError) as error:
            parse_config("data: {path: .}", "mine.yaml", ["encoder.cell.name=./mgu.py", override])
        assert str(error.value).startswith(message)
    with pytest.raises(SlotfillError):
        parse_config("data: {path: .}", "mine.yaml", ["encoder.cell=./mug.py"])


def test_cell_in_the_folder_is_built_in(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(CELLS, "folder", tmp_path)
    monkeypatch.setattr(
        slotfill.model.cells, "__path__", [*slotfill.model.cells.__path__, str(tmp_path)]
    )
    listed = slotfill_command("list", "cells")
    assert "mgu" in listed and "Minimal gated unit" in listed and "Zhou" in listed
    assert "gate_bias" in json.dumps(json.loads(slotfill_command("schema"))["$defs"]["cell"])
    config = parse_config("data: {path: .}", "mine.yaml", ["encoder.cell=mgu"])
    assert config.encoder["cell"] == {"name": "mgu", "gate_bias": 0.0}
    assert type(CELLS.build("mgu", 3, 4)).__name__ == "MGU"


def test_summary_and_options_are_documented(cell):
    part = CELLS.part("./mgu.py")
    assert part.summary.endswith(".") and part.source.startswith("Zhou")
    assert list(part.options) == ["gate_bias"]
    assert "gate_bias: " in part.load().__doc__


def test_matches_equations(cell):
    """Every step of both directions matches the equations of the file's docstring in NumPy."""
    torch.manual_seed(3)
    size, hidden = 3, 4
    mgu = CELLS.build({"name": "./mgu.py", "gate_bias": -0.5}, size, hidden, 2).double()
    x = torch.randn(2, 5, 6, size, dtype=torch.float64)
    outputs = run_cell(mgu, x)[0].detach().numpy()
    assert outputs.shape == (2, 5, 6, hidden)
    w, u, b = (p.detach().numpy() for p in (mgu.input_weight, mgu.recurrent_weight, mgu.bias))
    assert (b[:, :, :hidden] == -0.5).all() and (b[:, :, hidden:] == 0).all()
    for way in range(2):
        w_f, w_g = np.split(w[way], 2, axis=1)
        u_f, u_g = np.split(u[way], 2, axis=1)
        b_f, b_g = np.split(b[way], 2, axis=1)
        h = np.zeros((6, hidden))
        for time in range(5):
            x_t = x[way, time].numpy()
            f = 1 / (1 + np.exp(-(x_t @ w_f + h @ u_f + b_f)))
            g = np.tanh(x_t @ w_g + (f * h) @ u_g + b_g)
            h = (1 - f) * h + f * g
            np.testing.assert_allclose(outputs[way, time], h, atol=1e-12)


def test_independent_of_batch_and_every_parameter_has_a_gradient(cell):
    torch.manual_seed(3)
    encoder = ENCODERS.build(
        {"name": "recurrent", "cell": "./mgu.py", "hidden_size": 4, "dropout": 0.0}, 3
    ).double()
    x, lengths = torch.randn(3, 5, 3, dtype=torch.float64), torch.tensor([5, 2, 1])
    together = encoder(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(x[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-12, rtol=0)
        assert not together[row, length:].any()
    together.square().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.any() for parameter in encoder.parameters()
    )


def list_files(action) -> set[str]:
    """Return the files of slotfill whose functions `action` calls, as links of the page."""
    files = set()
    sys.setprofile(lambda frame, *_: files.add(frame.f_code.co_filename))
    try:
        action()
    finally:
        sys.setprofile(None)
    # Where the package is installed, which need not be the checkout.
    package = Path(slotfill.__file__).parent
    inside = [Path(file) for file in files if file.startswith(f"{package}{os.sep}")]
    return {file.relative_to(package.parent).as_posix() for file in inside}


def read_links(title: str) -> set[str]:
    section = PAGE.partition(f"### {title}\n")[2].partition("\n##")[0]
    return set(re.findall(r"\((slotfill/[^)]*)\)", section))


@pytest.mark.parametrize("confidence", [True, False])
def test_the_path_of_a_sentence_has_every_file_that_it_passes(confidence, trained):
    predictor = slotfill.load(trained, engine="onnx", confidence=confidence)
    passed = list_files(lambda: predictor.predict(["leave Oslo for New York please"]))
    assert {"slotfill/runs/predict.py", "slotfill/data/indexers.py"} < passed
    assert passed <= read_links("The path of a sentence")


def test_the_path_of_a_config_key_has_every_file_that_it_passes():
    passed = list_files(lambda: load_config("taipei", ["train.learning_rate=0.01"]))
    assert passed - {"slotfill/errors.py"} <= read_links("The path of a config key")
