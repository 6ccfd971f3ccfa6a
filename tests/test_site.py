"""The website of the documentation: it has every page, and needs no server and no network."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESOURCES = {"script": "src", "img": "src", "iframe": "src", "link": "href"}


def test_navigation_lists_every_page_once():
    config = (ROOT / "scripts" / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- (\S+\.md)$", config, re.MULTILINE)
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/*/*.md")]
    names = [page.relative_to(ROOT).as_posix() for page in pages]
    own = ROOT / "scripts" / "site" / "pages"
    names += [page.relative_to(own).as_posix() for page in own.rglob("*.md")]
    assert sorted(listed) == sorted(names)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None:
        pytest.skip("needs pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [str(ROOT / "scripts" / "docs"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("place", ["kept", "kept/a.txt", ROOT, ROOT.parent, ROOT / "build"])
def test_only_a_site_or_an_empty_folder_is_replaced(tmp_path, place):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").write_text("mine")
    command = [str(ROOT / "scripts" / "docs"), str(tmp_path / place)]
    # Without Python on the path, nothing can be built by mistake.
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert (tmp_path / "kept" / "a.txt").read_text() == "mine"


@pytest.mark.slow
def test_site_loads_nothing_from_elsewhere(site):
    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            loaded.append(dict(attrs).get(RESOURCES.get(tag, "")) or "")

    loaded: list[str] = []
    for page in site.rglob("*.html"):
        Parser().feed(page.read_text(encoding="utf-8"))
    assert len(loaded) > 1000
    assert not [each for each in loaded if "//" in each and not each.startswith("data:")]


@pytest.mark.slow
def test_reference_has_every_public_name(site):
    import slotfill
    import slotfill.parts

    for page, module in (("slotfill", slotfill), ("parts", slotfill.parts)):
        text = (site / "reference" / f"{page}.html").read_text(encoding="utf-8")
        names = {*module.__all__} - {"__version__"}
        assert not {name for name in names if f'id="{module.__name__}.{name}"' not in text}


@pytest.mark.slow
def test_search_works_without_a_server(site):
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install '.[test]'")
    chromium = shutil.which("chromium") or pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((site / "docs" / "predict.html").as_uri())
        page.click("input[name=query]")
        page.keyboard.type("calibration error")
        page.locator("a[href*='confidence.html']").first.wait_for()
        browser.close()
