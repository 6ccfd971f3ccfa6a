"""The probe: sentences, gradients checked against other computations, memory, and the command."""

from __future__ import annotations

import copy
import json
import signal
import sys
from collections import Counter
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch
from conftest import start

from slotfill.config.registry import trust_external_parts
from slotfill.errors import ConfigError
from slotfill.lab.probe import probe

FAST = ("--steps", 2, "--hidden-size", 4, "--seeds", 1, "--distances", "1,3")
DRAWS = pytest.mark.skipif(
    find_spec("matplotlib") is None, reason="needs matplotlib: pip install '.[plots]'"
)


def long(distance: int, count: int = 4) -> list:
    return probe.make_sentences(Random(1), distance, count)


@pytest.mark.parametrize("distance", [1, 2, 7, 100])
def test_only_the_verb_determines_the_slot(distance):
    found = long(distance, 40)
    names = Counter()
    for sentence in found:
        verb, *between, city = sentence.tokens
        (slot,) = sentence.slots
        assert (slot.start, slot.end) == (distance, len(sentence.tokens))
        assert sentence.value(slot) == city
        assert slot.name == {"arrive": "destination", "leave": "origin"}[verb]
        assert not {*between, city} & {"arrive", "leave"}
        names[slot.name] += 1
    assert names == {"destination": 20, "origin": 20}
    cities = {name: {s.tokens[-1] for s in found if s.slots[0].name == name} for name in names}
    assert len(cities["origin"] & cities["destination"]) > 4, "the city tells nothing"


def test_another_seed_gives_other_sentences():
    assert probe.make_sentences(Random(1), 20, 10) != probe.make_sentences(Random(2), 20, 10)
    assert set(long(100)[0].tokens) <= set(probe.VOCAB.tokens)


def test_gradient_of_a_linear_elman_network_is_the_product_of_its_matrices():
    model = probe.build_network({"name": "elman", "activation": "linear"}, 5, seed=1)
    chosen, gain = long(6), 1.5
    found = probe.gradients(model, chosen, gain)

    double = copy.deepcopy(model).double()
    cell = double.encoders[0].layers[0]
    u = cell.recurrent_weight.detach()[0] * gain
    cell.recurrent_weight.detach().copy_(u.unsqueeze(0))
    batch = probe.make_labelled_batch(double, chosen)
    emissions = double(
        [[torch.from_numpy(a) for a in arrays] for arrays in batch.features],
        torch.from_numpy(batch.lengths),
    ).emissions
    wrong = emissions[:, -1].softmax(1) - torch.nn.functional.one_hot(
        torch.from_numpy(batch.tags)[:, -1], emissions.shape[2]
    )
    slope = wrong.detach() @ double.tagger.linear.weight.detach()
    for size in found:
        assert size == pytest.approx(float(slope.norm(dim=1).mean()), rel=1e-10)
        slope = slope @ u.T
    assert len(found) == 7, "k from 0 to the state that has read the verb alone"


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "clockwork"])
def test_gradient_equals_finite_differences(cell):
    """Perturb each element of the state at T-k and measure the change of the loss."""
    model = probe.build_network(cell, 4, seed=3)
    chosen = long(5, 2)
    found = probe.gradients(model, chosen)
    double = copy.deepcopy(model).double()
    part, batch = double.encoders[0].layers[0], probe.make_labelled_batch(double, chosen)
    gold = torch.from_numpy(batch.tags)[:, -1]
    with torch.no_grad():
        x = double.embeddings[0](torch.from_numpy(batch.features[0][0])).transpose(0, 1)
        steps = part.project(x.flatten(0, 1).unsqueeze(0)).unflatten(1, x.shape[:2]).unbind(1)

        def losses(state, after):
            for step in steps[after:]:
                h, state = part.step(step, state)
            return torch.nn.functional.cross_entropy(
                double.tagger.linear(h[0]), gold, reduction="none"
            )

        state = part.initial_state(steps[0])
        for after in range(1, 6):
            _, state = part.step(steps[after - 1], state)
            squares = torch.zeros(2, dtype=torch.float64)
            for index, tensor in enumerate(state):
                for unit in range(tensor.shape[2]) if tensor.is_floating_point() else ():
                    sides = []
                    for nudge in (1e-6, -1e-6):
                        moved = [one.clone() for one in state]
                        moved[index][..., unit] += nudge
                        sides.append(losses(tuple(moved), after))
                    squares += ((sides[0] - sides[1]) / 2e-6).square()
            assert found[6 - after] == pytest.approx(
                float(squares.sqrt().mean()), rel=1e-6, abs=1e-12
            )


def test_gradients_leave_the_model_unchanged():
    model = probe.build_network("lstm", 4, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = probe.gradients(model, long(8), gain=3.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert first == probe.gradients(model, long(8), gain=3.0) != probe.gradients(model, long(8))


def test_gradients_vanish_in_a_sigmoid_network_and_explode_in_all_with_large_weights():
    def left(cell, gain):
        sizes = probe.gradients(probe.build_network(cell, 16, seed=1), long(60, 8), gain)
        return sizes[60] / sizes[0]

    sigmoid, lstm = {"name": "elman", "activation": "sigmoid"}, "lstm"
    assert left(sigmoid, 1) < 1e-20
    assert left(lstm, 1) > 1e-4, "the memory keeps it"
    for cell in ("elman", lstm, "gru"):
        assert left(cell, 8) > 100, "no cell is safe from explosion"
    assert left("elman", 8) > left(lstm, 8)


def test_every_registered_cell_can_be_probed():
    cells = probe.read_cells(probe.CELLS.names())
    found = probe.probe(
        cells, probe.ProbeSettings(1, 4, (1,), (1, 3), (2.0,)), lambda what, share: None
    )
    assert list(found) == probe.CELLS.names()
    for memory in found.values():
        assert list(memory.accuracy) == [1, 3]
        assert list(memory.gradients) == ["untrained", "weights x 2", "trained"]
        assert [len(rows[0]) for rows in memory.gradients.values()] == [4, 4, 4]


MEMORYLESS = '''"""A layer of a feed-forward network: it keeps nothing."""

from slotfill.model.cells.base import Cell


class Blind(Cell):
    """Keep nothing."""

    def __init__(self, input_size: int, hidden_size: int, directions: int = 1) -> None:
        super().__init__(input_size, hidden_size, directions, num_gates=1, num_recurrent_gates=0)

    def step(self, projected, state):
        h = projected.tanh()
        return h, (h,)
'''


@pytest.fixture
def trusted():
    with trust_external_parts():
        yield


def test_an_lstm_remembers_the_verb_and_a_memoryless_cell_does_not(tmp_path, trusted):
    (tmp_path / "blind.py").write_text(MEMORYLESS, encoding="utf-8")
    cells = probe.read_cells(["lstm", str(tmp_path / "blind.py")])
    assert list(cells) == ["lstm", "blind"]
    for mixed in (False, True):
        settings = probe.ProbeSettings(60, 16, (1,), (1, 5), (), mixed)
        found = probe.probe(cells, settings, lambda what, share: None)
        assert min(found["lstm"].accuracy[5]) > 95
        assert all(35 < row[0] < 65 for row in found["blind"].accuracy.values())
        assert found["blind"].gradients["trained"][0][1:] == [0.0] * 5
        assert found["lstm"].gradients["untrained"][0][5] > 0


def test_the_seed_determines_the_results():
    cells = probe.read_cells(["elman"])

    def run(seed):
        return probe.probe(
            cells, probe.ProbeSettings(3, 4, (seed,), (2, 4), ()), lambda what, share: None
        )["elman"]

    torch.manual_seed(1)
    first = run(1)
    torch.manual_seed(2)
    assert run(1) == first
    assert run(2).gradients != first.gradients


def test_reported_progress_grows_to_one():
    shares = []
    settings = probe.ProbeSettings(3, 4, (1, 2), (1, 4), ())
    probe.probe(
        probe.read_cells(["elman,gru"]), settings, lambda what, share: shares.append((what, share))
    )
    assert len(shares) == 2 * 2 * 2 * 3
    assert all(a[1] < b[1] for a, b in pairwise(shares))
    assert shares[-1] == ("gru, seed 2", pytest.approx(1))


def test_a_step_with_a_gradient_that_is_not_finite_is_skipped(monkeypatch):
    model = probe.build_network("elman", 4, seed=1)
    before = model.state_dict()["tagger.linear.weight"].clone()
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    assert list(probe.train(model, 2, (3,), 1)) == [1, 2]
    assert torch.equal(model.state_dict()["tagger.linear.weight"], before)


def test_relative_gradient_of_zero_is_nan():
    memory = probe.ProbeResult(
        accuracy={},
        gradients={
            probe.UNTRAINED: [[0.0, 0.0], [2.0, 1.0], [1.0, 4.0], [1.0, 1.0]],
            "x": [[0.0, 0.0]],
        },
    )
    assert memory.relative_gradient_at(probe.UNTRAINED, 1) == 1.0, (
        "the middle of the seeds that have any"
    )
    assert memory.relative_gradient_at("x", 1) != memory.relative_gradient_at("x", 1)
    document = probe.to_json(
        {"a": {"name": "elman"}},
        probe.ProbeSettings(),
        {"a": probe.ProbeResult({}, {"x": [[float("inf")]]})},
    )
    assert document["cells"]["a"]["gradients"] == {"x": [[None]]}


def test_cells_are_parsed_as_yaml():
    found = probe.read_cells(
        ["elman, {name: elman, activation: relu},{name: clockwork, periods: [1, 3]}", "gru"]
    )
    assert list(found) == ["elman", "elman activation=relu", "clockwork periods=[1, 3]", "gru"]
    assert found["elman activation=relu"] == {"name": "elman", "activation": "relu"}
    assert list(probe.read_cells(["{name: elman, activation: tanh}"])) == ["elman"], (
        "that is its default"
    )
    assert list(probe.read_cells(["{name: lstm, forget_bias: 3}"])) == ["lstm forget_bias=3"]
    with pytest.raises(ConfigError, match="did you mean 'elman'"):
        probe.read_cells(["elmann"])


# The command


def test_tables(cli):
    result = cli("probe", "--cells", "elman,{name: gru, reset: none}", *FAST)
    assert result.code == 0
    assert "elman" in result.out and "gru reset=none" in result.out
    assert "1 back" in result.out and "3, x 4" in result.out and "3, trained" in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    assert result.err.startswith("elman, seed 1 (")


def test_json(cli):
    result = cli("probe", "--cells", "lstm", *FAST, "--gain", "1.5", "--json")
    document = json.loads(result.out)
    assert document["settings"]["distances"] == [1, 3]
    found = document["cells"]["lstm"]
    assert found["cell"]["name"] == "lstm"
    assert list(found["accuracy"]) == ["1", "3"]
    assert list(found["gradients"]) == ["untrained", "weights x 1.5", "trained"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cells", "elmann"], "--cells: unknown cell 'elmann'; did you mean 'elman'?"),
        (
            ["--cells", "{name: elman, activation: cos}"],
            "--cells.activation: unknown value 'cos' (allowed: ",
        ),
        (
            ["--distances", "1,0"],
            "--distances 1,0: must be integers from 1 to 10000, each once, separated by",
        ),
        (
            ["--distances", "1;2"],
            "--distances 1;2: must be integers from 1 to 10000, each once, separated by",
        ),
        (["--gain", "2,nan"], "--gain 2,nan: must be numbers above 0, each once"),
        (["--seeds", "a"], "--seeds a: must be integers"),
        (
            ["--figure", "x.gif"],
            "--figure x.gif: a figure is a .svg, .png or .pdf file",
        ),
        (["--figure", "no/x.svg"], "no/x.svg: there is no such folder to write it in"),
        (
            ["--figure", "there.svg"],
            "there.svg: already exists; use --force to replace it",
        ),
        (
            ["--cells", "{name: clockwork, periods: [1, 2, 4, 8, 16]}", "--hidden-size", "4"],
            "encoder.cell.periods: ",
        ),
    ],
)
def test_usage_errors_are_reported_before_training(cli, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("there.svg").write_text("mine")
    result = cli("probe", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"slotfill: {message}")
    assert result.err.count("\n") == 1
    assert Path("there.svg").read_text() == "mine"


def test_without_matplotlib_a_figure_is_refused_before_training(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = cli("probe", "--cells", "elman", *FAST, "--figure", tmp_path / "a.svg")
    message = "--figure needs matplotlib; install it with: pip install 'slotfill[plots]'"
    assert (result.code, result.out, result.err) == (2, "", f"slotfill: {message}\n")
    assert not (tmp_path / "a.svg").exists()


@DRAWS
def test_a_figure_is_replaced_only_with_force(cli, tmp_path):
    target = tmp_path / "a.svg"
    words = ("probe", "--cells", "elman", *FAST, "--figure", target)
    assert cli(*words).code == 0
    first = target.read_bytes()
    target.write_text("mine")
    assert cli(*words).code == 2
    assert target.read_text() == "mine"
    assert cli(*words, "--force").code == 0
    assert target.read_bytes() == first, "the same numbers are the same file"
    assert list(tmp_path.iterdir()) == [target]


@DRAWS
def test_the_suffix_is_the_format_of_a_figure():
    from slotfill.lab.probe.figures import plot_probe, render

    cells = probe.read_cells(["elman"])
    settings = probe.ProbeSettings(1, 4, (1,), (1,), (2.0,))
    found = probe.probe(cells, settings, lambda what, share: None)
    one, other = plot_probe(found), plot_probe(found)
    for suffix, magic in {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}.items():
        drawn = render(one, suffix)
        assert drawn.startswith(magic)
        assert render(other, suffix.upper()) == drawn, "the same numbers are the same file"


@DRAWS
def test_a_cell_has_the_same_color_in_both_panels():
    from slotfill.lab.probe.figures import plot_probe

    cells = probe.read_cells(["elman,lstm,gru"])
    found = probe.probe(
        cells, probe.ProbeSettings(1, 4, (1, 2), (1, 2), (2.0,)), lambda what, share: None
    )
    left, right = plot_probe(found).axes
    curves = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert list(curves) == ["elman", "lstm", "gru"]
    assert len({line.get_color() for line in curves.values()}) == 3
    assert curves["gru"].get_ydata().tolist() == [
        sum(row) / 2 for row in found["gru"].accuracy.values()
    ]
    dashed = [line for line in right.lines if line.get_linestyle() == "--"]
    assert [line.get_color() for line in dashed] == [line.get_color() for line in curves.values()]


def test_ctrl_c_is_one_line(tmp_path):
    process = start(
        "probe", "--cells", "elman", "--steps", "100000", "--figure", tmp_path / "a.svg"
    )
    line = b""
    while b"elman, seed 1" not in line:
        line = process.stderr.readline()
        assert line, "it ended by itself"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"slotfill: stopped\n")
    assert not list(tmp_path.iterdir())
