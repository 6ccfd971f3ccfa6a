"""The report on a corpus: as tables, and as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from slotfill.data.findings import KINDS
from slotfill.data.report import DataReport
from slotfill.lab.html import render_template

_EXCERPT_WIDTH = 20
"""The most characters that a table shows of a value."""


def render_page(report: DataReport) -> str:
    """Return the report as an HTML page."""
    kinds = list(dict.fromkeys(name.kind for name in report.names))
    return render_template("data.html.jinja", report=report, meanings=KINDS, kinds=kinds)


def tables(report: DataReport) -> list[tuple[str, list[list[str]]]]:
    """Return a table of the splits, of the slots and of the intents, as titles and columns."""
    splits = report.splits
    found = [
        (
            report.name,
            [
                ["split", *(split.name for split in splits)],
                ["sentences", *(f"{split.sentences:,}" for split in splits)],
                ["tokens", *(f"{split.tokens:,}" for split in splits)],
                ["slots", *(f"{split.slots:,}" for split in splits)],
                ["intents", *(f"{split.intents:,}" for split in splits)],
                ["length", *(f"{split.median_length:g}" for split in splits)],
                ["longest", *(f"{split.max_length:,}" for split in splits)],
                ["unknown", *(_format_share(split.unknown_tokens) for split in splits)],
            ],
        )
    ]
    for kind in ("slot", "intent"):
        if names := [name for name in report.names if name.kind == kind]:
            columns = [[kind, *(name.name for name in names)]]
            for split in splits:
                columns.append([split.name, *(f"{name.counts[split.name]:,}" for name in names)])
            if kind == "slot":
                columns.append(["values", *(f"{name.values:,}" for name in names)])
            columns.append(["examples", *(_join_examples(name.examples) for name in names)])
            found.append(("", columns))
    return found


def _format_share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _join_examples(examples: Sequence[str]) -> str:
    """Return the examples in quotes, as many as fit into a line."""
    line = ""
    for example in examples:
        shown = example if len(example) <= _EXCERPT_WIDTH else f"{example[: _EXCERPT_WIDTH - 1]}…"
        if line and len(line) + len(shown) > 2 * _EXCERPT_WIDTH:
            break
        line += f"{', ' if line else ''}{shown}"
    return line
