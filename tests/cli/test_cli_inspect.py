"""The command `inspect`: text, JSON and HTML output, terminals with and without colours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import run_on_terminal
from rich.cells import cell_len

from slotfill.runs.predict import Predictor

TEXT = "leave New York for Oslo please"


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_plain_text_without_a_terminal(trained, cli):
    result = cli("inspect", trained, TEXT)
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    lines = result.out.splitlines()
    assert lines[0] == "leave [New York](origin) for [Oslo](destination) please"
    assert max(map(cell_len, lines)) <= 100
    titles = [
        line.partition("  ")[0] for line in lines if line.startswith(("layer", "probability"))
    ]
    labels = ("layer 1 forward", "layer 1 backward")
    names = ("input gate", "forget gate", "output gate", "candidate", "memory", "hidden (output)")
    assert titles == [f"{label}: {name}" for label in labels for name in names] + [
        "probability of each tag"
    ]
    assert sum(line.startswith("Oslo ") for line in lines) == 13


def test_json_has_all_values(trained, cli):
    result = cli("inspect", trained, TEXT, "--json")
    assert (result.code, result.err, result.out.count("\n")) == (0, "", 1)
    data = json.loads(result.out)
    assert data["tokens"] == TEXT.split()
    (known,) = Predictor.load(trained).predict([TEXT])
    assert [(slot["name"], slot["value"]) for slot in data["slots"]] == [
        (s.name, s.value) for s in known.slots
    ]
    for panel in data["panels"]:
        assert len(panel["values"]) == 6 and {len(row) for row in panel["values"]} <= {8, 5}
        assert all(
            panel["low"] <= value <= panel["high"] for row in panel["values"] for value in row
        )
    marginals = data["panels"][-1]
    assert (
        marginals["columns"][0] == "O"
        and data["tags"][0] == "O"
        and marginals["values"][0][0] > 0.5
    )


def test_layer_and_gate_select_panels(trained, cli):
    data = json.loads(
        cli("inspect", trained, TEXT, "--gate", "forget", "--gate", "memory", "--json").out
    )
    assert [panel["name"] for panel in data["panels"]] == ["forget", "memory"] * 2
    data = json.loads(cli("inspect", trained, TEXT, "--layer", "1", "--json").out)
    assert len(data["panels"]) == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--gate", "forgte"],
            "--gate forgte: this network has none; did you mean 'forget'? (allowed: candidate, ",
        ),
        (["--layer", "2"], "--layer 2: no such layer (there are: 1)"),
        (["--layer", "1", "--gate", "marginals"], "--gate marginals: not in layer 1"),
        (["--html", "."], ".: is a folder"),
        (["--figure", "a.gif"], "--figure a.gif: a figure is a .svg, .png or .pdf file"),
        (["--against", "from Oslo"], "6 tokens and 2 tokens (leave | New | York | for"),
        (
            ["--html", "nowhere/page.html"],
            "nowhere/page.html: there is no such folder to write it in",
        ),
    ],
)
def test_wrong_use_is_one_line(words, message, trained, cli):
    result = cli("inspect", trained, TEXT, *words)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"slotfill: {message}")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("text", ["", "   "])
def test_a_sentence_without_tokens_is_one_line(text, trained, cli):
    result = cli("inspect", trained, text, "--html", "page.html")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "no word in the sentence" in result.err
    assert list(Path().iterdir()) == []


def test_no_run_is_one_line(cli):
    result = cli("inspect", "nowhere", TEXT)
    assert (result.code, result.err.count("\n")) == (2, 1)


def test_a_page_is_never_overwritten_without_force(trained, cli):
    result = cli("inspect", trained, TEXT, "--html", "page.html")
    assert (result.code, result.out, result.err) == (0, "page.html: 13 figures\n", "")
    page = Path("page.html").read_text(encoding="utf-8")
    assert (
        page.startswith("<!DOCTYPE html>")
        and page.endswith("</html>\n")
        and page.count("<figure") == 13
    )
    Path("page.html").write_text("mine")
    result = cli("inspect", trained, TEXT, "--html", "page.html")
    assert result.code == 2
    assert result.err == "slotfill: page.html: already exists; use --force to replace it\n"
    assert Path("page.html").read_text() == "mine"
    assert cli("inspect", trained, TEXT, "--html", "page.html", "--force").code == 0
    assert Path("page.html").read_text(encoding="utf-8") == page
    assert list(Path().iterdir()) == [Path("page.html")], "nothing else is left"


def test_a_failed_write_keeps_the_old_page(trained, cli, monkeypatch):
    from slotfill.lab.inspect import html as heat_map_page

    Path("page.html").write_text("old")

    def fail(*arguments):
        raise OSError(28, "No space left on device", "page.html")

    monkeypatch.setattr(heat_map_page, "render_page", fail)
    result = cli("inspect", trained, TEXT, "--html", "page.html", "--force")
    assert (result.code, result.err) == (1, "slotfill: page.html: No space left on device\n")
    assert Path("page.html").read_text() == "old"
    assert list(Path().iterdir()) == [Path("page.html")]


def test_difference_of_two_sentences_as_figure_page_and_json(trained, cli):
    pytest.importorskip("matplotlib")
    other = TEXT.replace("leave", "from")
    words = ["--gate", "memory", "--figure", "a.svg", "--html", "a.html"]
    result = cli("inspect", trained, TEXT, "--against", other, *words)
    assert (result.code, result.err) == (0, "")
    assert result.out == "a.html: 2 figures\na.svg: 2 figures\n"
    assert "leave / from" in Path("a.html").read_text() and "<svg" in Path("a.svg").read_text()
    data = json.loads(cli("inspect", trained, TEXT, "--against", other, "--json").out)
    assert data["text"] == TEXT and data["against"]["text"] == other
    assert data["panels"][0]["low"] == -data["panels"][0]["high"]


def test_page_and_json_together(trained, cli):
    result = cli("inspect", trained, TEXT, "--html", "page.html", "--json")
    assert len(json.loads(result.out)["panels"]) == 13 and Path("page.html").exists()


@pytest.fixture
def on_terminal(monkeypatch, trained):
    """Return a function that runs the command on a terminal and returns its output."""

    def call(*words, **variables):
        for name in ("NO_COLOR", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        code, output = run_on_terminal("inspect", trained, TEXT, *words, **variables)
        assert code == 0
        return output

    return call


def test_colours_on_a_terminal(on_terminal):
    sent = on_terminal("--gate", "forget")
    assert "\x1b[48;5;" in sent
    assert "░" not in sent
    assert "\x1b[48;2;" in on_terminal("--gate", "forget", COLORTERM="truecolor")


@pytest.mark.parametrize(
    "variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "linux"}], ids=str
)
def test_characters_on_a_terminal_with_few_colours(on_terminal, variables):
    sent = on_terminal("--gate", "forget", **variables)
    assert "[48;" not in sent and "[38;" not in sent
    assert "░" in sent and "█" in sent
