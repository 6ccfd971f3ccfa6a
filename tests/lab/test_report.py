"""`evaluate --report` and `--errors`: the files, and the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise, product
from pathlib import Path

import pytest
from conftest import write_config

from slotfill.lab.report.plots import line_plot, round_numbers

LONG = "reservation.departure.location.city_name_as_written_by_the_traveller_旅行日期"
NASTY = "<script>alert('x')</script>&amp;\"quoted\""
WRONG = (
    "leave [Oslo](destination) for [Lima](destination) please\n"
    "arrive [New York](destination)\n"
    "[hello](origin) there\n"
    f"leave [{NASTY}](<b>bold</b>) now\n"
    "fly from [Paris](origin) to Tokyo\n"
    f"open [{'long' * 40}]({LONG}) for [台北](旅行日期)\n"
)


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory, module_cli) -> Path:
    """The report on sentences whose labels are mostly wrong."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "wrong.brackets").write_text(WRONG, encoding="utf-8")
    out = folder / "out.html"
    assert (
        module_cli("evaluate", trained, "--data", folder / "wrong.brackets", "--report", out) == 0
    )
    return out


@pytest.fixture(scope="module")
def module_cli():
    """Call the command line, and return its exit code."""
    import sys

    from slotfill.cli.main import main

    def call(*words: object) -> int:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", ["slotfill", *map(str, words)])
            main()
        return int(ended.value.code or 0)

    return call


class Checker(HTMLParser):
    """Collects tags and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "input", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_complete_well_formed_and_escaped(page):
    text = page.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == [] and checker.tags.count("script") == 1
    assert all(each.startswith(("#", "data:")) for each in checker.references)
    assert not re.search(r"https?:|@import|url\(", text)
    assert "<b>bold" not in text and "<script>alert" not in text
    for heading in ("Types of errors", "Slots", "Confusion", "F1 by group", "Training"):
        assert f">{heading}</h2>" in text


def test_errors_are_written_as_json_lines(trained, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("wrong.brackets").write_text(WRONG, encoding="utf-8")
    result = cli("evaluate", trained, "--data", "wrong.brackets", "--errors", "errors.jsonl")
    assert (result.code, result.err) == (0, "")
    assert "errors.jsonl: 5 sentences with errors" in result.out
    rows = list(map(json.loads, Path("errors.jsonl").read_text(encoding="utf-8").splitlines()))
    assert {row["error"] for row in rows} >= {"type", "missed"}
    confidences = [row["sentence_confidence"] for row in rows]
    assert confidences == sorted(confidences, reverse=True)
    (own,) = [row for row in rows if row["text"].startswith("fly")]
    assert own["error"] == "spurious" and own["gold"] is None
    assert own["predicted"] == {"name": "destination", "value": "Tokyo", "start": 18, "end": 23}
    assert 0.5 < own["confidence"] <= 1 and own["location"] == "wrong.brackets:5"


@pytest.mark.parametrize("threshold", ["0", "0.9", "1"])
def test_thresholds_hold_for_scores_and_errors_alike(threshold, trained, cli, tmp_path):
    data, out = tmp_path / "wrong.brackets", tmp_path / "out.jsonl"
    data.write_text(WRONG, encoding="utf-8")
    words = ("--data", data, "--errors", out, "--threshold", threshold, "--json")
    scores = json.loads(cli("evaluate", trained, *words).out)["overall"]
    rows = list(map(json.loads, out.read_text(encoding="utf-8").splitlines()))
    missed = sum(row["gold"] is not None for row in rows)
    assert scores["recall"] == pytest.approx(100 * (1 - missed / scores["support"]))
    assert all(row["confidence"] >= float(threshold) for row in rows if row["predicted"])


def test_files_are_not_replaced_without_force(trained, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.html").write_text("mine")
    for option in ("--report", "--errors"):
        result = cli("evaluate", trained, option, "mine.html")
        message = "mine.html: already exists; use --force to replace it"
        assert (result.code, result.err, result.out) == (2, f"slotfill: {message}\n", "")
    result = cli("evaluate", trained, "--report", "a", "--errors", "./a")
    assert result.err == "slotfill: --report and --errors are both a; give two files\n"
    assert Path("mine.html").read_text() == "mine"
    assert cli("evaluate", trained, "--report", "mine.html", "--force", "--json").code == 0
    assert "<h1>run on test</h1>" in Path("mine.html").read_text()


def test_a_report_needs_no_training_sentences(desk, corpus, cli):
    Path("corpus").unlink()
    shutil.copytree(corpus, "corpus")
    assert cli("train", "tiny.yaml", "train.epochs=1", "--out", "run").code == 0
    shutil.copy("corpus/test.brackets", "mine.brackets")
    shutil.rmtree("corpus")
    result = cli("evaluate", "run", "--data", "mine.brackets", "--report", "a.html")
    assert (result.code, result.err) == (0, "")
    assert "training slots of the name" not in Path("a.html").read_text()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (40.2, 96.6), (1, 2), (0.001, 0.0013), (-3, 900)]
)
def test_ticks_are_round_and_in_range(low, high):
    ticks = round_numbers(low, high)
    assert 2 <= len(ticks) <= 6 and low <= ticks[0] < ticks[-1] <= high
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    assert len(steps) == 1 and f"{steps.pop():e}"[0] in "125"


def test_a_line_of_one_point_can_be_plotted():
    plot = line_plot("epoch", "loss", {"loss": [(1, 3.0)]})
    assert plot.lines["loss"] == [(0, pytest.approx(plot.y_ticks[0].position))]


def test_the_page_works_in_a_browser(page, browser):
    """Filters, sorting and links work; nothing is requested, and nothing goes wrong."""
    from playwright.sync_api import expect

    view = browser.new_page(viewport={"width": 1200, "height": 900})
    problems, requests = [], []
    view.on("console", lambda message: problems.append(message.text))
    view.on("pageerror", lambda error: problems.append(str(error)))
    view.on("request", lambda request: requests.append(request.url))
    view.goto(page.as_uri())
    shown = view.locator("article:visible")
    count = view.locator("#count")
    assert shown.count() == 5 and count.inner_text() == "5 of 5"

    def confidences() -> list[float]:
        return list(map(float, view.locator("article .facts b").all_text_contents()))

    assert confidences() == sorted(confidences(), reverse=True)
    view.select_option("#order", "unsure")
    assert confidences() == sorted(confidences())

    view.select_option("#type", "missed")
    missed = shown.count()
    assert 0 < missed < 5 and all("missed" in text for text in shown.all_text_contents())
    view.fill("#text", "HELLO there")
    assert shown.count() == 1 and count.inner_text() == "1 of 5"
    view.fill("#text", "nowhere")
    expect(view.locator("#none")).to_be_visible()
    view.click("[type=reset]")
    expect(count).to_have_text("5 of 5")

    view.click("tbody button[data-slot='<b>bold</b>']:not([data-type])")
    expect(count).to_have_text("1 of 5")
    assert "alert('x')" in shown.text_content()
    cell = view.locator("button[data-pair]").first
    expected = cell.get_attribute("title").replace(" as ", " → ")
    cell.click()
    texts = shown.all_text_contents()
    assert texts and all(expected in text for text in texts), (expected, texts)

    def column(number: int) -> list[str]:
        return view.locator(f".sortable tbody tr > :nth-child({number})").all_text_contents()

    headings = view.locator(".sortable thead th")
    assert headings.nth(0).get_attribute("aria-sort") == "ascending"
    headings.nth(1).locator("button").click()
    assert headings.nth(1).get_attribute("aria-sort") == "descending"
    assert list(map(int, column(2))) == sorted(map(int, column(2)), reverse=True)
    headings.nth(1).locator("button").click()
    assert list(map(int, column(2))) == sorted(map(int, column(2)))
    headings.nth(0).locator("button").click()
    assert column(1) == sorted(column(1), key=str.casefold)
    assert (problems, requests) == ([], [page.as_uri()])


def test_a_confusion_of_intents_shows_its_sentences(browser, desk, cli):
    def write(name: str, **intents: str) -> None:
        """Write a sentence for each verb and its intent."""
        rows = [{"text": f"{verb} Oslo", "slots": [], "intent": intents[verb]} for verb in intents]
        Path(name).write_text("\n".join(map(json.dumps, 8 * rows)), encoding="utf-8")

    write("own.jsonl", leave="go", see="look", arrive="go")
    write("wrong.jsonl", leave="look", see="go", arrive="look")
    write_config(Path("own.yaml"), data="{path: own.jsonl, holdout: 0}", intent="mean")
    assert cli("train", "own.yaml", "train.epochs=20", "--out", "own").code == 0
    result = cli("evaluate", "own", "--data", "wrong.jsonl", "--report", "out.html")
    assert (result.code, result.err) == (0, "")
    view = browser.new_page()
    view.goto(Path("out.html").absolute().as_uri())
    assert view.locator("#count").inner_text() == "24 of 24"
    view.click("button[title='look as go']")
    assert view.locator("#count").inner_text() == "16 of 24"
    assert "intent look → go" in view.locator("article:visible").first.inner_text()


CUT_OFF = """[...document.querySelectorAll("main *")].filter(element => {
  const {right} = element.getBoundingClientRect();
  return right > innerWidth && !element.closest(".scroll > *");
}).map(element => element.outerHTML.slice(0, 200))"""

"""What is wider than the window, but in no box that scrolls."""

CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const luminance = colour => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(
      v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrasts = {};
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const shown = element.checkVisibility() && !element.closest("svg, .predicted.right, option");
    if (!own || !shown) continue;
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)")
      behind = behind.parentElement;
    const [a, b] = [luminance(getComputedStyle(element).color),
      luminance(getComputedStyle(behind).backgroundColor)].sort((x, y) => y - x);
    contrasts[element.outerHTML.slice(0, 120)] = (a + 0.05) / (b + 0.05);
  }
  return contrasts;
})()"""
"""Of each element that has text of its own, with its background."""


def test_the_page_fits_its_window_and_is_readable(page, browser):
    """Nothing is cut off: what is too wide scrolls in its own box. Texts contrast by WCAG AA."""
    view = browser.new_page()
    view.goto(page.as_uri())
    view.add_style_tag(content="article { content-visibility: visible !important; }")
    for width, scheme in product([390, 768, 1440], ["light", "dark"]):
        view.set_viewport_size({"width": width, "height": 800})
        view.emulate_media(color_scheme=scheme)
        assert view.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        ) == [width, width]
        assert view.evaluate(CUT_OFF) == []
        contrasts = view.evaluate(CONTRASTS)
        assert min(contrasts.values()) >= 4.5, (scheme, contrasts)
    view.close()
