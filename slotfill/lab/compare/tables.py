"""Tables of a comparison, for the terminal and as Markdown."""

from __future__ import annotations

from slotfill.lab.compare.report import INTENT_RATES, LEVEL, Report, find_scores

COSTS = {
    "parameters": "parameters",
    "train_tokens_per_second": "training tokens/s",
    "predict_tokens_per_second": "prediction tokens/s",
}

Table = tuple[str, list[list[str]]]
"""A title and columns, each a heading and a cell per row; the first column names the rows."""


def tables(report: Report) -> list[Table]:
    """Return tables of F1, intents if they are learned, sizes and speeds, and differences."""
    configs = report["configs"]
    names = ["config", *(config["name"] for config in configs)]
    f1s, intents, costs, differences = [names], [names], [names], [names]
    for corpus, info in report["corpora"].items():
        for split in info["splits"]:
            heading = f"{corpus} {split}"
            scores = [find_scores(config, corpus, split) for config in configs]
            f1s.append([heading, *(_f1(row, len(report["seeds"])) for row in scores)])
            differences.append([heading, *map(_difference, scores)])
            rates = [row["intent"] if row else {} for row in scores]
            for rate, name in INTENT_RATES.items() if any(rates) else ():
                cells = [_format_spread(row[rate]) if row else "" for row in rates]
                intents.append([f"{heading} {name}", *cells])
    summaries = [next(iter(config["corpora"].values())) for config in configs]
    for cost, heading in COSTS.items():
        costs.append([heading, *(f"{round(s[cost]):,}" if cost in s else "" for s in summaries)])
    result = [
        ("F1 of slots", f1s),
        ("Sentences with correct intents, and correct frames, in percent", intents),
        (f"Size and speed on {next(iter(report['corpora']))}", costs),
        (f"Difference in F1 from {names[1]}, its 95% interval, and p", differences),
    ]
    if len(configs) == 1:
        result.pop()
    return [(title, columns) for title, columns in result if len(columns) > 1]


def _f1(scores: Report | None, seeds: int) -> str:
    if scores is None:
        return ""
    failed = "!" if len(scores["f1s"]) < seeds else ""
    return f"{_format_spread(scores) or 'failed'}{_mark(scores)}{failed}"


def _format_spread(spread: Report) -> str:
    if spread["mean"] is None:
        return ""
    deviation = "" if spread["deviation"] is None else f" ± {spread['deviation']:.2f}"
    return f"{spread['mean']:.2f}{deviation}"


def _difference(scores: Report | None) -> str:
    if scores is None or scores["against_first"] is None:
        return ""
    difference = scores["against_first"]
    low, high = difference["interval"]
    interval = f"{difference['difference']:+.2f} ({low:+.2f}, {high:+.2f})"
    return f"{interval}, {difference['p']:.4f}{_mark(scores)}"


def _mark(scores: Report) -> str:
    """Return `*` if the difference is significant, `**` if it also is after correction."""
    difference = scores["against_first"]
    if difference is None or difference["p"] >= LEVEL:
        return ""
    return "*" if difference["p_corrected"] >= LEVEL else "**"


def legend(report: Report) -> list[str]:
    """Return the sentences that explain the tables."""
    seeds, failed = len(report["seeds"]), sum(bool(run["failed"]) for run in report["runs"])
    spread = f": mean ± sample standard deviation over {seeds} seeds" if seeds > 1 else ", one seed"
    lines = [f"F1 in percent over complete slots{spread}."]
    if len(report["configs"]) > 1:
        lines += [
            f"Difference from {report['statistics']['first']}: * p < {LEVEL}, ** also when"
            " corrected for the number of configs (Holm).",
            "p: paired approximate randomization; interval: paired bootstrap; both over sentences.",
        ]
    lines.append("Speeds: medians; runs that train in parallel slow each other down.")
    if failed:
        lines.append(f"! {failed} of {len(report['runs'])} runs failed and are excluded.")
    return lines


def markdown(report: Report) -> str:
    """Return the tables as a Markdown page, with the machine, the date and the command."""
    environment = report["environment"]
    versions = [f"{name} {number}" for name, number in environment.get("versions", {}).items()]
    machine = f"{environment.get('processors')} processors, {environment.get('platform')}"
    python = ", ".join([f"Python {environment.get('python')}", *versions])
    return "\n\n".join(
        [
            "# Comparison",
            f"    {report['command']}",
            *map(_markdown_table, tables(report)),
            " ".join(legend(report)).replace("*", "\\*"),
            f"Machine: {machine}; {python}. {report['date'][:10]}.\n",
        ]
    )


def _markdown_table(table: Table) -> str:
    title, columns = table
    lines = [f"{title}:", ""]
    for cells in zip(*columns, strict=True):
        row = " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells)
        lines.append(f"| {row} |")
    lines.insert(3, "| --- |" + " ---: |" * (len(columns) - 1))
    return "\n".join(lines)
