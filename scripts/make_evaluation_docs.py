"""Write the pictures and the table of docs/evaluation.md from a run of `atis`.

    python scripts/make_evaluation_docs.py runs/atis

Needs the corpus, and Chromium for the pictures.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from make_errors import ANNOTATIONS
from make_results import ROOT, table
from playwright.sync_api import sync_playwright

from slotfill.evaluation.errors import ErrorAnalysis
from slotfill.lab.report.page import render_page
from slotfill.runs.evaluate import analyze_run, evaluate_run, read_labelled
from slotfill.runs.load import load_run

PAGE = ROOT / "docs" / "evaluation.md"
TABLE = re.compile(r"(<!-- judged: [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
JUDGEMENTS = {"label": "label is wrong", "either": "ambiguous", "tagger": "tagger is wrong"}
CONFIDENCES = (0.99, 0.9, 0.5, 0.0)


def judgements(analysis: ErrorAnalysis, numbers: dict[int, int], name: str) -> str:
    """Return the table of the manual annotations of errors by confidence.

    `numbers` has the number of each sentence in the test split, by its id.
    """
    annotations = yaml.safe_load(ANNOTATIONS.read_text(encoding="utf-8"))["atis"]
    found = {number: kind for kind, group in annotations.items() for number in group}
    counts: dict[float, Counter[str]] = {least: Counter() for least in CONFIDENCES}
    for wrong in analysis.wrong:
        if wrong.errors:
            least = next(each for each in CONFIDENCES if wrong.confidence >= each)
            counts[least][found.get(numbers[id(wrong.sentence)], "not read")] += 1
    rows = [
        [f"from {least}", str(row.total()), *(str(row[kind]) for kind in JUDGEMENTS)]
        for least, row in counts.items()
    ]
    unread = sum(row["not read"] for row in counts.values())
    date = datetime.now(timezone.utc).date().isoformat()
    note = f"Config `atis`, {name}, {date}; {unread} of them not read."
    return f"{table(['confidence', 'sentences', *JUDGEMENTS.values()], rows)}\n\n{note}\n"


def take_pictures(page: Path) -> None:
    """Write docs/report.png, the top of the page, and docs/report-errors.png, its sentences."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        view = browser.new_page(viewport={"width": 1100, "height": 1000})
        view.goto(page.as_uri())
        view.screenshot(path=ROOT / "docs" / "report.png")
        view.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
        view.evaluate("document.getElementById('sentences').scrollIntoView()")
        view.set_viewport_size({"width": 1100, "height": 800})
        view.screenshot(path=ROOT / "docs" / "report-errors.png")
        browser.close()


def main() -> None:
    """Write the pictures and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    run = load_run(parser.parse_args().run)
    sentences = read_labelled(run).sentences
    analysis = analyze_run(run, sentences)
    numbers = {id(sentence): number for number, sentence in enumerate(sentences)}
    text = judgements(analysis, numbers, f"seed {run.config.train.seed}")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda match: match[1] + text + match[2], page), encoding="utf-8")
    with TemporaryDirectory() as folder:
        file = Path(folder, "report.html")
        file.write_text(render_page(run, "test", evaluate_run(run), analysis), encoding="utf-8")
        take_pictures(file)


if __name__ == "__main__":
    main()
