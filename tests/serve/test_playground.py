"""The playground at / in a real browser: predictions, corrections, keyboard, small screens."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from conftest import CITIES, SMALL, write_config
from service import serving

from slotfill.data.corpus import read_sentences
from slotfill.data.tokenizers import Tokenizer

pytest.importorskip("fastapi", reason="pip install 'slotfill[serve]'")

SENTENCE = "fly from Paris to Oslo"

CONTRASTS = """() => {
    const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const paint = (...colours) => {
        for (const colour of colours) {
            context.fillStyle = colour;
            context.fillRect(0, 0, 1, 1);
        }
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (rgb) => rgb.map((x) => x / 255)
        .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
        .reduce((sum, x, index) => sum + x * [0.2126, 0.7152, 0.0722][index], 0);
    const background = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? background(element.parentElement) : colour;
    };
    const texts = document.querySelectorAll("mark, mark small, p, label, .button, #facts");
    return [...texts].map((each) => {
        const {color, opacity} = getComputedStyle(each);
        const back = paint("#fff", background(each));
        const front = paint(`rgb(${back})`, color);
        const mixed = front.map((x, index) => opacity * x + (1 - opacity) * back[index]);
        const [low, high] = [luminance(back), luminance(mixed)].sort((a, b) => a - b);
        return [each.className || each.tagName, (high + 0.05) / (low + 0.05)];
    });
}"""
"""The contrast of each text to its background, as WCAG defines it."""


@pytest.fixture(scope="module")
def service(trained, tmp_path_factory):
    """A service of two runs, of which the second has intents."""
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.runs.train import train

    folder = tmp_path_factory.mktemp("playground")
    rows = [f"[](flight) fly to [{city}](to)\n[](greeting) hello {city}\n" for city in CITIES]
    (folder / "corpus.brackets").write_text("".join(rows * 4), encoding="utf-8")
    sections = SMALL | {"data": "{path: corpus.brackets}", "intent": "attention"}
    _, config = load_config(str(write_config(folder / "intents.yaml", **sections)))
    train(config, RunFolder(folder / "intents"), lambda progress: None)
    with serving(trained, folder / "intents") as running:
        yield running


@pytest.fixture
def page(service, browser):
    """The playground in a new browser; nothing goes wrong, and nothing is loaded from elsewhere."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=service.url)
    view = context.new_page()
    problems, requests = [], []
    # Autofocus is refused, and said to be, where a test has clicked or typed before it.
    view.on(
        "console",
        lambda message: message.text.startswith("Autofocus") or problems.append(message.text),
    )
    view.on("pageerror", lambda error: problems.append(str(error)))
    view.on("request", lambda request: requests.append(request.url))
    view.goto(service.url)
    yield view
    context.close()
    assert problems == []
    assert {url for url in requests if not url.startswith((service.url, "blob:", "data:"))} == set()


def predict(page, text: str) -> None:
    """Type a sentence, and wait for its prediction."""
    page.fill("#text", text)
    page.press("#text", "Enter")
    page.wait_for_function("text => shown?.text === text", arg=text)


def marks(page) -> list[str]:
    return page.locator("#sentence mark").all_inner_texts()


def download(page, folder: Path) -> list[tuple[str, list[tuple[str, int, int]], str | None]]:
    """Return the corrections as slotfill reads them: texts, slots by characters, and intents."""
    with page.expect_download() as started:
        page.click("#download")
    run = page.input_value("#run")
    assert started.value.suggested_filename == f"{run}-corrections.brackets"
    path = folder / "corrections.brackets"
    started.value.save_as(path)
    sentences = read_sentences(path, tokenizer=Tokenizer()).sentences
    return [
        (each.text, [(slot.name, *each.span(slot)) for slot in each.slots], each.intent)
        for each in sentences
    ]


def test_a_sentence_is_shown_with_slots_confidences_and_readings(page, service):
    predict(page, SENTENCE)
    (answer,) = service.predict(SENTENCE, nbest=5)
    found = marks(page)
    assert [text.split()[:2] for text in found] == [["Paris", "origin"], ["Oslo", "destination"]]
    for text, slot in zip(found, answer["slots"], strict=True):
        (shown,) = re.findall(r"([\d.]+)\s%", text)
        assert float(shown) == pytest.approx(100 * slot["confidence"], abs=0.06)
    assert page.locator(".reading").count() == len(answer["readings"])
    assert page.inner_text("#status") == "2 slots: Paris is origin, Oslo is destination"
    assert not page.is_visible("#intent")
    page.locator(".reading button").nth(1).click()
    assert len(marks(page)) == len(answer["readings"][1]["slots"])


def test_gates_are_one_click_away(page):
    predict(page, SENTENCE)
    with page.context.expect_page() as opened:
        page.click("#inspect")
    opened.value.wait_for_selector("figure")
    assert "forget" in opened.value.inner_text("main")


def test_typing_is_enough(page):
    page.locator("#text").press_sequentially("arrive Lima")
    page.wait_for_selector("#sentence mark")
    assert marks(page)[0].startswith("Lima")


def test_runs_are_chosen_and_intents_shown(page, tmp_path):
    predict(page, "hello Oslo")
    page.select_option("#run", "intents")
    page.wait_for_function("() => answer?.intent === 'greeting'")
    assert re.search(r"Intent greeting [\d.]+\s%", page.inner_text("#facts"))
    assert page.input_value("#intent") == "greeting"
    page.fill("#intent", "farewell")
    page.click("#keep")
    ((text, _, intent),) = download(page, tmp_path)
    assert (text, intent) == ("hello Oslo", "farewell")


def test_slots_are_corrected_with_the_mouse_and_downloaded(page, tmp_path):
    text = "😀 [a](b) go from 台北 to New York \\ <b>now</b>"
    predict(page, text)
    for slot in range(page.locator("#sentence mark").count()):
        page.locator("#sentence mark").first.click()
        page.click("#remove")
        assert slot >= 0
    assert marks(page) == [] and page.inner_text("#sentence") == text
    # From the middle of one word to the middle of another: both are selected completely.
    start, end = text.index("ew York"), text.index("York") + 2
    points = page.evaluate(
        """([start, end]) => [start, end].map((index) => {
            const range = document.createRange();
            range.setStart(sentence.firstChild, index);
            const box = range.getBoundingClientRect();
            return [box.x, box.y + box.height / 2];
        })""",
        [start + 1, end + 1],  # 😀 has two code units.
    )
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=5)
    page.mouse.up()
    page.wait_for_function(
        "() => document.getElementById('selected').textContent.includes('New York')"
    )
    page.fill("#slot", "city (new) \\")
    page.press("#slot", "Enter")
    assert marks(page) == ["New York city (new) \\"]
    page.click("#keep")
    first = text.index("New York")
    expected = [("city (new) \\", first, first + len("New York"))]
    assert download(page, tmp_path) == [(text, expected, None)]
    # What is kept survives a reload; the same sentence is kept once; it can be removed.
    page.reload()
    predict(page, text)
    page.click("#keep")
    assert page.locator("#kept li").count() == 1
    page.click("#kept button")
    assert not page.is_visible("#corrections")


def test_slots_are_corrected_with_the_keyboard_alone(page):
    predict(page, "go to Lima now")
    page.press("#text", "Home")
    for key in ("Control+ArrowRight",) * 3 + ("Control+Shift+ArrowRight",):
        page.press("#text", key)
    page.wait_for_function(
        "() => document.getElementById('selected').textContent === 'Selected: now'"
    )
    while page.evaluate("document.activeElement.id") != "slot":
        page.keyboard.press("Tab")
    page.keyboard.type("time")
    page.keyboard.press("Enter")
    assert marks(page)[-1] == "now time"
    while page.evaluate("document.activeElement.textContent") != "now time":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.input_value("#slot") == "time"
    page.locator("#sentence mark").last.press("Delete")
    assert "now time" not in marks(page)
    assert page.inner_text("#status") == "now is no slot now."
    # The focus stays in the sentence as long as it has slots.
    for left in range(len(marks(page)) - 1, -1, -1):
        page.locator("#sentence mark:focus").press("Delete")
        assert len(marks(page)) == left
    assert page.evaluate("document.activeElement.id") == "text"


def test_corrections_are_kept_for_each_run(page, tmp_path):
    """The same sentence may be kept for two runs; what else is in the storage does no harm."""
    page.evaluate("localStorage.setItem('corrections', 'null')")
    page.reload()
    predict(page, "hello Oslo")
    page.click("#keep")
    page.select_option("#run", "intents")
    page.wait_for_function("() => answer?.intent === 'greeting'")
    assert not page.is_visible("#corrections")
    page.click("#keep")
    assert [intent for *_, intent in download(page, tmp_path)] == ["greeting"]
    page.select_option("#run", "run")
    page.wait_for_function("() => answer && !answer.intent")
    assert [intent for *_, intent in download(page, tmp_path)] == [None]
    for content in ("[]", "3", "{", '{"run": 3}', '{"run": [null, {}]}'):
        page.evaluate("content => localStorage.setItem('corrections', content)", content)
        page.reload()
        predict(page, "hello Oslo")
        assert not page.is_visible("#corrections")


def test_only_a_run_with_heat_maps_has_a_link_to_them(page):
    def describe(route):
        runs = route.fetch().json()
        route.fulfill(json=[{**runs[0], "heat_maps": False}, *runs[1:]])

    page.route("**/runs", describe)
    page.reload()
    predict(page, "hello Oslo")
    assert not page.is_visible("#inspect")
    page.select_option("#run", "intents")
    page.wait_for_function("() => answer?.intent === 'greeting'")
    assert page.is_visible("#inspect")


def test_the_copied_commands_give_the_prediction(page, service):
    text = 'fly from "Paris" to l\'Oslo \\n $HOME'
    predict(page, text)
    copied = {}
    for kind in ("json", "curl", "python"):
        page.check(f"[value={kind}]")
        page.click("#copy")
        page.wait_for_function("() => document.getElementById('status').textContent === 'Copied.'")
        copied[kind] = page.evaluate("navigator.clipboard.readText()")
        assert copied[kind] == page.text_content("#code")
    (expected,) = service.predict(text)
    assert json.loads(copied["json"]) == expected
    code = f"{copied['python'].replace('print(', 'import sys; sys.stdout.write(json.dumps(')})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [expected]
    words = shlex.split(copied["curl"].replace("\\\n", ""))
    assert words[0] == "curl" and json.loads(words[-1]) == {"texts": [text]}
    assert service.send("POST", words[1].removeprefix(service.url), words[-1].encode())[0] == 200


def test_errors_are_shown(service, browser):
    view = browser.new_page()
    view.goto(service.url)
    predict(view, SENTENCE)
    view.fill("#text", "a" * 10_001)
    view.wait_for_selector("#status.error")
    assert view.inner_text("#status") == "text 0: 10,001 characters; at most 10,000 are allowed"
    assert not view.is_visible("#keep"), "the sentence before is no longer shown"
    view.route("**/predict", lambda route: route.abort())
    view.fill("#text", "hello")
    view.wait_for_function("() => get('status').textContent === 'The service does not answer.'")
    assert not view.is_visible("#keep")
    view.close()


def test_the_page_fits_and_can_be_read(service, browser):
    """Nothing is wider than the screen, and text has the contrast of WCAG AA."""
    view = browser.new_page()
    view.goto(service.url)
    predict(view, SENTENCE)
    view.click("#keep")
    unnamed = view.evaluate(
        """[...document.querySelectorAll("input, select, button")].filter((each) =>
            !each.labels?.length && !each.textContent.trim() && !each.ariaLabel).length"""
    )
    assert unnamed == 0, "controls without a name"
    for width, scheme in product([320, 1200], ["light", "dark"]):
        view.set_viewport_size({"width": width, "height": 700})
        view.emulate_media(color_scheme=scheme)
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        ratios = view.evaluate(CONTRASTS)
        assert ratios and [each for each in ratios if each[1] < 4.5] == [], scheme
    view.close()
