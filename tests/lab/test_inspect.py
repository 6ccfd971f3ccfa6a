"""Inspection of every part: each recorded activation has a panel in the order of the tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slotfill.config.registry import CELLS, ENCODERS, TAGGERS, trust_external_parts
from slotfill.config.validate import parse_config
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import RunError, UsageError
from slotfill.lab.inspect.inspection import inspect
from slotfill.model.activations import record_activations
from slotfill.model.build import build_model
from slotfill.runs.load import Run
from slotfill.runs.predict import Predictor

TEXT = "leave New York at noon"
TOKENS = TEXT.split()
VOCAB = Vocab.from_sentences(
    [Sentence.from_tokens(TOKENS, [Slot("from", 1, 3), Slot("time", 4, 5)])], "iob2"
)
RECURRENT = "{name: recurrent, hidden_size: 6, layers: 2}"
SELF_ATTENTION = "{name: self_attention, heads: 3, head_size: 4}"


def network(encoder=RECURRENT, tagger="crf", scale=0.5):
    """An untrained run with random weights, some of them large."""
    text = f"embedding: {{name: word, size: 5}}\nencoder: {encoder}\ntagger: {tagger}\n"
    config = parse_config(text, "config")
    torch.manual_seed(3)
    model = build_model(config, VOCAB).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    run = Run(Path("run"), VOCAB, model, config.data.scheme)
    run.config = config
    return run


def with_cell(cell):
    return f"{{name: recurrent, hidden_size: 6, layers: 2, cell: {cell}}}"


def all_notes(run, tokens):
    """All activations of a run for `tokens`: module, name, records."""
    from slotfill.data.batching import make_batch

    with record_activations(run.engine) as notes:
        run.engine.emissions(make_batch([tokens], run.engine.indexers))
    return [(label, name, calls) for label, noted in notes.items() for name, calls in noted.items()]


def numbers(values):
    return sorted(np.round(np.concatenate([np.ravel(value) for value in values]), 6))


NETWORKS = [
    *(pytest.param(with_cell(name), "crf", id=name) for name in CELLS.names()),
    *(
        pytest.param(f"[{RECURRENT}, {name}]", "softmax", id=name)
        for name in ENCODERS.names()
        if name not in ("recurrent", "self_attention")
    ),
    pytest.param(f"[{RECURRENT}, {SELF_ATTENTION}]", "crf", id="self_attention"),
    pytest.param("[recurrent, attention, recurrent, attention]", "crf", id="stack"),
    *(pytest.param(RECURRENT, name, id=name) for name in TAGGERS.names()),
]


@pytest.mark.parametrize("text", [TEXT, "noon"], ids=["sentence", "word"])
@pytest.mark.parametrize(("encoder", "tagger"), NETWORKS)
def test_all_recorded_activations_are_shown_once(encoder, tagger, text):
    run = network(encoder, tagger)
    tokens = text.split()
    notes = all_notes(run, tokens)
    *panels, last = inspect(run, text).panels
    assert last.name == "marginals"
    assert numbers([panel.values for panel in panels] or [[]]) == numbers(
        [call.double().numpy() for _, _, calls in notes for call in calls] or [[]]
    )
    for panel in panels:
        assert panel.values.shape[0] == len(tokens)
        assert panel.low <= panel.values.min() and panel.values.max() <= panel.high + 1e-6
        assert panel.columns == () or len(panel.columns) == panel.values.shape[1]


@pytest.mark.parametrize("name", CELLS.names())
def test_a_panel_for_each_gate_of_a_cell(name):
    run = network(with_cell(name))
    panels = inspect(run, TEXT).panels
    for layer, cell in enumerate(run.engine.encoders[0].layers, start=1):
        for direction in ("forward", "backward"):
            shown = [
                panel.name
                for panel in panels
                if (panel.layer, panel.direction) == (layer, direction)
            ]
            assert set(cell.gates) <= set(shown), "every gate"
            assert shown[-1] == "hidden", "the output comes last"
            assert {panel.part for panel in panels if panel.layer} == {
                f"encoder 1 (recurrent, {name})"
            }


@pytest.mark.parametrize("name", CELLS.names())
def test_both_directions_are_in_the_order_of_the_tokens(name):
    """The output of the encoder equals the hidden panels of both directions of its last layer."""
    from slotfill.data.batching import make_batch
    from slotfill.model.network import to_device

    run = network(with_cell(name))
    batch = make_batch([TOKENS], run.engine.indexers)
    with torch.inference_mode():
        inputs = to_device(batch, run.engine)
        output = run.engine(inputs.features, inputs.lengths).first_states[0].numpy()
    actual = [
        panel.values
        for panel in inspect(run, TEXT).panels
        if (panel.layer, panel.name) == (2, "hidden")
    ]
    np.testing.assert_allclose(np.concatenate(actual, axis=1), output, atol=1e-6)


def test_backward_gates_follow_the_equation_from_the_next_token():
    """The forget gate depends on the token's vector and the output at the next token."""
    run = network("{name: recurrent, hidden_size: 6, bidirectional: true}")
    panels = {
        panel.name: panel.values
        for panel in inspect(run, TEXT).panels
        if panel.direction == "backward"
    }
    cell = run.engine.encoders[0].layers[0]
    ids = torch.from_numpy(run.engine.indexers[0].index([TOKENS])[0])
    x = run.engine.embeddings[0](ids)[0].detach().double().numpy()
    weight, recurrent, bias = (
        tensor[1].detach().double().numpy()[..., 6:12]
        for tensor in (cell.input_weight, cell.recurrent_weight, cell.bias)
    )
    behind = np.vstack((panels["hidden"][1:], np.zeros(6)))
    expected = 1 / (1 + np.exp(-(x @ weight + behind @ recurrent + bias[0])))
    np.testing.assert_allclose(panels["forget"], expected, atol=1e-6)


def test_one_direction_is_forward():
    panels = inspect(
        network("{name: recurrent, hidden_size: 4, bidirectional: false}"), TEXT
    ).panels
    assert {panel.direction for panel in panels[:-1]} == {"forward"}
    assert panels[-1].direction is None


def test_titles_have_location_and_description():
    shown = inspect(network(), TEXT).panels
    titles = [panel.title for panel in shown]
    names = ["input gate", "forget gate", "output gate", "candidate", "memory", "hidden (output)"]
    labels = [
        f"layer {layer} {direction}" for layer in (1, 2) for direction in ("forward", "backward")
    ]
    assert titles == [f"{label}: {name}" for label in labels for name in names] + [
        "probability of each tag"
    ]
    grid = inspect(network("{name: grid_lstm, hidden_size: 4}"), TEXT).panels
    assert "layer 2 backward: depth forget gate" in [panel.title for panel in grid]


def test_scales_fit_the_values():
    panels = inspect(network(scale=2), TEXT).panels
    for name in ("input", "forget", "output", "marginals"):
        assert {(panel.low, panel.high) for panel in panels if panel.name == name} == {(0, 1)}
    for name in ("candidate", "memory", "hidden"):
        for panel in panels:
            if panel.name == name:
                assert panel.low == -panel.high, "0 is in the middle"
                same = [
                    each.values for each in panels if (each.layer, each.name) == (panel.layer, name)
                ]
                largest = np.abs(same).max()
                assert largest * (1 - 1e-6) <= panel.high <= 2 * largest, (
                    "both directions on one scale, well used"
                )


def test_attention_is_from_token_to_token():
    panels = inspect(network(f"[{RECURRENT}, {SELF_ATTENTION}]"), TEXT).panels
    heads = [panel for panel in panels if panel.name == "weights"]
    assert [(panel.head, panel.layer, panel.direction) for panel in heads] == [
        (n, None, None) for n in (1, 2, 3)
    ]
    for panel in heads:
        assert panel.columns == TOKENS
        np.testing.assert_allclose(panel.values.sum(axis=1), 1, atol=1e-6)
    assert len({panel.high for panel in heads}) == 1
    assert [panel.kind for panel in panels] == ["units"] * 24 + ["tokens"] * 3 + ["tags"]


def test_decoder_attends_to_the_sentence_from_each_token():
    panels = inspect(network(tagger="{name: aligned, hidden_size: 7}"), TEXT).panels
    (weights,) = (panel for panel in panels if panel.name == "weights")
    assert (weights.part, weights.values.shape) == ("tagger (aligned, lstm)", (5, 5))
    np.testing.assert_allclose(weights.values.sum(axis=1), 1, atol=1e-6)


def test_jordan_feedback_is_the_distribution_of_the_previous_token():
    feedback, marginals = inspect(network(tagger="jordan"), TEXT).panels[-2:]
    assert feedback.columns == marginals.columns == VOCAB.tags
    np.testing.assert_allclose(feedback.values[1:], marginals.values[:-1], atol=1e-6)
    assert (feedback.values[0] == 0).all()


@pytest.mark.parametrize("tagger", TAGGERS.names())
def test_tags_equal_those_of_predict(tagger):
    run = network(tagger=tagger)
    actual = inspect(run, TEXT)
    assert actual.to_json()["slots"] == [
        {"name": slot.name, "value": slot.value, "start": slot.start, "end": slot.end}
        for slot in Predictor(run).predict([TEXT])[0].slots
    ]
    assert len(actual.tags) == 5 and set(actual.tags) <= set(VOCAB.tags)
    assert (actual.panels[-1].part.split()[0], actual.panels[-1].columns) == ("tagger", VOCAB.tags)
    np.testing.assert_allclose(actual.panels[-1].values.sum(axis=1), 1)


def test_marginals_of_a_crf_are_zero_for_forbidden_tags():
    actual = inspect(network(scale=2), TEXT).panels[-1]
    assert all(
        actual.values[0, VOCAB.tag_ids[tag]] == 0 for tag in VOCAB.tags if tag.startswith("I-")
    )
    free = inspect(network(scale=2, tagger="softmax"), TEXT).panels[-1]
    assert (free.values > 0).all()


def test_numbers_are_json_with_five_decimals():
    actual = inspect(network(), TEXT)
    data = json.loads(json.dumps(actual.to_json()))
    assert (data["text"], data["tokens"], data["tags"]) == (TEXT, TOKENS, actual.tags)
    for panel, full_panel in zip(data["panels"], actual.panels, strict=True):
        np.testing.assert_allclose(panel["values"], full_panel.values, atol=5.1e-6)
        assert all(round(value, 5) == value for row in panel["values"] for value in row)
        assert (panel["part"], panel["name"], panel["layer"]) == (
            full_panel.part,
            full_panel.name,
            full_panel.layer,
        )


@pytest.mark.parametrize("encoder", [RECURRENT, f"[{RECURRENT}, {SELF_ATTENTION}]"])
def test_the_difference_of_two_sentences_is_token_by_token(encoder):
    run = network(encoder)
    words = TEXT.split()
    other = " ".join(["never", *words[1:]])
    first, second = inspect(run, TEXT), inspect(run, other)
    found = first.subtract(second)
    assert found.labels == [f"{words[0]} / never", *words[1:]]
    for panel, a, b in zip(found.panels, first.panels, second.panels, strict=True):
        assert np.array_equal(panel.values, a.values - b.values)
        assert panel.title == f"{a.title}, difference"
        assert -panel.low == panel.high >= np.abs(panel.values).max()
    marginals = found.panels[-1].values
    assert np.allclose(marginals.sum(axis=1), 0) and np.abs(marginals).max() > 0.001
    data = found.to_json()
    assert data["text"] == TEXT and data["against"]["text"] == other
    same = first.subtract(first)
    assert same.labels == words and not any(panel.values.any() for panel in same.panels)


def test_the_columns_of_attention_name_both_tokens_where_they_differ():
    from slotfill.lab.inspect.figure import plot_inspection
    from slotfill.lab.inspect.html import render_page

    run = network(SELF_ATTENTION)
    other = inspect(run, TEXT.replace("leave", "arrive"))
    shown = inspect(run, TEXT).subtract(other).filter(names=["weights"])
    assert {panel.kind for panel in shown.panels} == {"tokens"}
    axes = plot_inspection(shown).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == [label.get_text() for label in axes.get_yticklabels()] == shown.labels
    assert names[0] == "leave / arrive"
    assert '<th class="long">leave / arrive</th>' in render_page(shown, "run")


def test_a_figure_says_how_many_units_there_are():
    from slotfill.lab.inspect.figure import plot_inspection

    for size, label in [(1, "1 unit"), (6, "6 units")]:
        shown = inspect(network(f"{{name: recurrent, hidden_size: {size}}}"), TEXT)
        assert plot_inspection(shown.filter(names=["memory"])).axes[0].get_xlabel() == label


def test_sentences_of_different_lengths_are_not_compared():
    run = network()
    with pytest.raises(UsageError, match=r"2 tokens and 1 token .*two of the same length"):
        inspect(run, "at noon").subtract(inspect(run, "noon"))


def test_a_figure_has_a_map_for_each_panel_and_shows_any_token():
    from slotfill.lab.inspect.figure import plot_inspection
    from slotfill.lab.probe.figures import render

    shown = inspect(network(), "at $5 to $6 \\x").filter(layer=1, names=["forget"])
    figure = plot_inspection(shown)
    maps = {axes.get_title(): axes for axes in figure.axes if axes.get_images()}
    assert [*maps] == [panel.title for panel in shown.panels]
    for panel in shown.panels:
        assert np.array_equal(maps[panel.title].get_images()[0].get_array(), panel.values)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == shown.sentence.tokens and "$" in "".join(labels)
    assert render(figure, ".png").startswith(b"\x89PNG")


def test_a_figure_names_the_likely_tags_of_each_token_with_their_probabilities():
    from slotfill.lab.inspect.figure import plot_inspection

    shown = inspect(network(scale=2), TEXT).filter(names=["marginals"])
    (panel,) = shown.panels
    (axes,) = plot_inspection(shown).axes
    (right,) = axes.child_axes
    expected = [
        (round(float(row[column]), 2), panel.columns[column], panel.columns[column] == predicted)
        for row, predicted in zip(panel.values, shown.tags, strict=True)
        for column in sorted(range(len(row)), key=lambda column: -row[column])[:3]
        if row[column] >= 0.01 or panel.columns[column] == predicted
    ]
    found = [label.get_text().split() for label in right.get_yticklabels()]
    assert [(float(p), tag, star == ["*"]) for p, tag, *star in found] == expected
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(
        [probability for probability, *_ in expected], abs=0.005
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == TOKENS


def test_filter_by_layer_and_name():
    actual = inspect(network(), TEXT)
    assert {panel.layer for panel in actual.filter(layer=2).panels} == {2}
    assert {panel.name for panel in actual.filter(names=["memory", "marginals"]).panels} == {
        "memory",
        "marginals",
    }
    (one,) = (
        panel
        for panel in actual.filter(layer=1, names=["forget"]).panels
        if panel.direction == "forward"
    )
    assert one.title == "layer 1 forward: forget gate"
    grid = inspect(network("{name: grid_lstm, hidden_size: 4}"), TEXT)
    assert {panel.name for panel in grid.filter(names=["forget"]).panels} == {
        "time forget",
        "depth forget",
    }
    assert {panel.name for panel in grid.filter(names=["time forget"]).panels} == {"time forget"}


def test_unknown_layers_and_names_are_reported_with_the_allowed_ones():
    actual = inspect(network(), TEXT)
    names = "candidate, forget, hidden, input, marginals, memory, output"
    with pytest.raises(
        UsageError, match=rf"^--gate forgot: .*; did you mean 'forget'\? \(allowed: {names}\)$"
    ):
        actual.filter(names=["forgot"])
    with pytest.raises(UsageError, match=r"^--layer 3: no such layer \(there are: 1, 2\)$"):
        actual.filter(layer=3)
    with pytest.raises(UsageError, match=r"^--layer 1: no such layer \(there are: none\)$"):
        inspect(network("feedforward"), TEXT).filter(layer=1)
    with pytest.raises(UsageError, match=r"^--gate marginals: not in layer 1$"):
        actual.filter(layer=1, names=["marginals"])


@pytest.mark.parametrize("text", ["", "  ", "\u200b"])
def test_a_text_without_tokens_is_an_error(text):
    with pytest.raises(UsageError, match="no word in the sentence"):
        inspect(network(), text)


@pytest.mark.parametrize("note", ["h[0]", "h[..., 0, 0]", "h.repeat(3, 1, 1)"])
def test_an_external_part_with_records_of_another_shape_is_an_error(note, tmp_path):
    (tmp_path / "odd.py").write_text(
        '"""Odd."""\nfrom slotfill.model.cells.elman import Elman\n\n\nclass Odd(Elman):\n   '
        ' """Odd."""\n\n    def step(self, projected, state):\n        h, state ='
        f" super().step(projected, state)\n        self.record(strange={note})\n        return h,"
        " state\n"
    )
    with (
        trust_external_parts(),
        pytest.raises(
            RunError,
            match=r"^encoder 1 \(recurrent, odd\): cannot show 'strange', 5 records \(.*\) for 5 t",
        ),
    ):
        inspect(network(with_cell(tmp_path / "odd.py")), TEXT)


def test_inf_and_nan_are_one_line():
    run = network(with_cell("{name: elman, activation: linear}"))
    with torch.no_grad():
        run.engine.encoders[0].layers[0].recurrent_weight.fill_(1e30)
    with pytest.raises(
        RunError, match=r"'hidden': contains inf or nan|the emissions: contains inf or nan"
    ):
        inspect(run, TEXT)


def test_inspection_leaves_the_model_unchanged():
    run = network()
    first, second = inspect(run, TEXT), inspect(run, TEXT)
    for one, two in zip(first.panels, second.panels, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
    assert all(getattr(part, "notes", None) is None for part in run.engine.modules())


@pytest.mark.parametrize(
    ("cell", "gate", "state"),
    [
        *((cell, "update", "hidden") for cell in ("gru", "mut1", "mut2", "mut3", "mingru")),
        *((cell, "forget", "memory") for cell in ("qrnn", "sru")),
    ],
)
def test_the_title_says_what_a_gate_of_1_does(cell, gate, state):
    run = network(with_cell(cell))
    panels = inspect(run, TEXT).filter(layer=1).panels
    by_name = {panel.name: panel for panel in panels if panel.direction == "forward"}
    z, n, h = (by_name[name].values[1:] for name in (gate, "candidate", state))
    old = by_name[state].values[:-1]
    does = {"keeps the old": z * old + (1 - z) * n, "writes the new": z * n + (1 - z) * old}
    said = by_name[gate].title.partition(f"{gate} gate (1 ")[2].rpartition(" ")[0]
    assert h == pytest.approx(does.pop(said), abs=1e-5)
    assert h != pytest.approx(*does.values(), abs=1e-3)
    if cell in ("gru", "mut1"):
        assert by_name["reset"].title.endswith("reset gate")


def test_the_difference_of_a_gate_says_too_what_a_gate_of_1_does():
    from slotfill.lab.inspect.figure import plot_inspection
    from slotfill.lab.inspect.heat_map import render_lines
    from slotfill.lab.inspect.html import render_page

    run = network(with_cell("mut1"))
    other = inspect(run, TEXT.replace("noon", "night"))
    shown = inspect(run, TEXT).subtract(other).filter(layer=1, names=["update"])
    title = "layer 1 forward: update gate (1 writes the new state), difference"
    assert any(line.plain.startswith(title) for line in render_lines(shown, 80, colors=""))
    assert title in render_page(shown, "run")
    assert plot_inspection(shown).axes[0].get_title() == title
