"""Tables of a comparison, for the terminal and as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from urllib.parse import quote

from slotfill import markdown as md
from slotfill.errors import escape, format_count
from slotfill.lab.compare.report import (
    INTENT_RATES,
    ComparisonReport,
    ConfigReport,
    Difference,
    SplitReport,
)
from slotfill.lab.compare.significance import ENOUGH_SEEDS, ENOUGH_SENTENCES, LEVEL

COSTS = {
    "parameters": "parameters",
    "multiply_adds_per_token": "multiply-adds/token",
    "peak_memory_mb": "training MB",
    "train_tokens_per_second": "training tokens/s",
    "predict_tokens_per_second": "prediction tokens/s",
}

Table = tuple[str, list[list[str]]]
"""A title and columns, each a heading and a cell per row; the first column names the rows."""


def tables(report: ComparisonReport) -> list[Table]:
    """Return tables of F1, intents if they are learned, sizes and speeds, and differences."""
    configs = report.configs
    names = ["config", *(config.name for config in configs)]
    f1s, intents, costs, differences = [names], [names], [names], [names]
    for corpus, info in report.corpora.items():
        for split in info.splits:
            heading = f"{corpus} {split}"
            splits = [config.split(corpus, split) for config in configs]
            f1s.append([heading, *(_f1(config, corpus, split) for config in configs)])
            if report.folds:
                f1s.append(["95% interval", *map(_interval, splits)])
            differences.append([heading, *map(_difference, splits)])
            rates = [scores.intent if scores else {} for scores in splits]
            for rate, name in INTENT_RATES.items() if any(rates) else ():
                cells = [str(intent.get(rate, "")) for intent in rates]
                intents.append([f"{heading} {name}", *cells])
    for cost, heading in COSTS.items():
        first_corpora = [next(iter(config.corpora.values())) for config in configs]
        values = [getattr(corpus, cost) for corpus in first_corpora]
        costs.append([heading, *("" if value is None else f"{round(value):,}" for value in values)])
    result = [("F1 of slots", f1s)]
    if len(intents) > 1:
        result.append(("Sentences with correct intents, and correct frames, in percent", intents))
    if report.runs:  # Systems that were trained elsewhere have neither.
        result.append((f"Size and speed on {next(iter(report.corpora))}", costs))
    if len(configs) > 1:
        title = f"Difference in F1 from {configs[0].name}, its 95% interval, and p"
        result.append((title, differences))
    if report.pairs:
        by_place = {(p.config, p.other, p.corpus, p.split): _describe(p) for p in report.pairs}
        compared = list(dict.fromkeys((pair.config, pair.other) for pair in report.pairs))
        pairs = [["configs", *(f"{config} - {other}" for config, other in compared)]]
        for corpus, info in report.corpora.items():
            for split in info.splits:
                column = [by_place.get((*each, corpus, split), "") for each in compared]
                pairs.append([f"{corpus} {split}", *column])
        result.append(("Differences in F1 of all pairs, 95% intervals, and p", pairs))
    return result


def _f1(config: ConfigReport, corpus: str, split: str) -> str:
    scores = config.split(corpus, split)
    if scores is None:
        return ""
    if scores.mean is None:
        return "failed!"
    failed = "!" if config.corpora[corpus].failed else ""
    return f"{scores}{_mark(scores.difference_from_first)}{failed}"


def _interval(scores: SplitReport | None) -> str:
    if scores is None or scores.interval is None:
        return ""
    return "{:.2f} to {:.2f}".format(*scores.interval)


def _difference(scores: SplitReport | None) -> str:
    if scores is None or scores.difference_from_first is None:
        return ""
    return _describe(scores.difference_from_first)


def _describe(difference: Difference) -> str:
    """Return a difference, its interval and p, with stars."""
    if difference.interval is None:
        return f"{difference.difference:+.2f}, not tested"
    low, high = difference.interval
    interval = f"{difference.difference:+.2f} ({low:+.2f}, {high:+.2f})"
    p = difference.p or 0.0
    return f"{interval}, {f'{p:.4f}' if p >= 0.0001 else '<0.0001'}{_mark(difference)}"


def _mark(difference: Difference | None) -> str:
    """Return `*` if the difference is significant, `**` if it also is after correction."""
    if difference is None or difference.p is None or difference.p >= LEVEL:
        return ""
    return "**" if difference.p_corrected is not None and difference.p_corrected < LEVEL else "*"


def legend(report: ComparisonReport) -> list[str]:
    """Return the sentences that explain the tables."""
    scores = [
        split
        for config in report.configs
        for corpus in config.corpora.values()
        for split in corpus.splits.values()
    ]
    finished = [split.seeds for split in scores if split.seeds] or [len(report.seeds)]
    fewest, most = min(finished), max(finished)
    seeds = format_count(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    over = [format_count(report.folds, "fold")] if report.folds else []
    over += [seeds] if most > 1 else []
    spread = f": mean ± sample standard deviation over {' and '.join(over)}" if over else ""
    spread += ", one seed" if most == 1 else ""
    lines = [f"F1 in percent over complete slots{spread}."]
    if report.folds:
        lines.append("95% interval of F1: over the sentences of all folds together.")
    differences = [*(split.difference_from_first for split in scores), *report.pairs]
    tested = any(each is not None and each.p is not None for each in differences)
    if tested:
        lines += [
            f"Difference from {report.configs[0].name}: * p < {LEVEL}, ** also when corrected for"
            " the number of configs (Holm)."
            + (" In the table of all pairs: for the number of pairs." if report.pairs else ""),
            "p and interval: t-test over both seeds and sentences.",
        ]
    if len(report.configs) > 1:
        lines += _warnings(report, seeds, fewest, most, tested=tested)
    if report.differences:
        lines.append(f"Warning: the runs differ in {'; '.join(report.differences)}.")
    if report.runs:
        lines.append("Speeds: medians; runs that train in parallel slow each other down.")
    if failed := sum(bool(run.failed) for run in report.runs):
        lines.append(f"! {failed} of {len(report.runs)} runs failed and are excluded.")
    return [*lines, *filter(None, map(str, report.learning_curves))]


def _warnings(
    report: ComparisonReport, seeds: str, fewest: int, most: int, *, tested: bool
) -> Iterator[str]:
    """Yield what makes p of a comparison uncertain."""
    if fewest < ENOUGH_SEEDS:
        found = "only large differences are found"
        if fewest == 1:
            found = "nothing is tested" + (" where there is one" if tested else "")
        elif fewest == 2 < most:
            found += ", and p may be too small where 2 are compared with more"
        enough = "--seeds " + ",".join(map(str, range(1, ENOUGH_SEEDS + 1)))
        add = enough if report.runs else "outputs of other seeds"
        yield f"Warning: {seeds}, so {found}; add {add}."
    few = [
        f"{number} in {corpus} {split}"
        for corpus, info in report.corpora.items()
        for split, number in info.sentences.items()
        if number < ENOUGH_SENTENCES
    ]
    if tested and few:
        yield (
            f"Warning: few sentences ({', '.join(few)}), so p may be too small; test on at least"
            f" {ENOUGH_SENTENCES}."
        )
    for system, outputs in report.equal_outputs.items():
        yield (
            f"Warning: {system}: the same slots as an output before in {', '.join(outputs)}; if"
            " that is the same seed, p is wrong; a deterministic system has variance 0 over seeds."
        )


def markdown(report: ComparisonReport, figure: str = "") -> str:
    """Return the tables as a Markdown page, with the machine, the date and the command.

    `figure` is the path of a figure.
    """
    environment = report.environment
    versions = [f"{name} {number}" for name, number in environment.get("versions", {}).items()]
    machine = f"{environment.get('processors')} processors, {environment.get('platform')}"
    alt = "Learning curves" if report.learning_curves else "F1 of every seed"
    python = ", ".join([f"Python {environment.get('python')}", *versions])
    return "\n\n".join(
        [
            "# Comparison",
            f"    {escape(report.command)}",
            *map(_markdown_table, tables(report)),
            *([f"![{alt}]({quote(figure)})"] if figure else []),
            md.plain(" ".join(legend(report))),
            (md.plain(f"Machine: {machine}; {python}. ") if environment else "")
            + f"{report.date[:10]}.\n",
        ]
    )


def _markdown_table(table: Table) -> str:
    title, columns = table
    head, *rows = ([md.plain(cell) for cell in row] for row in zip(*columns, strict=True))
    return f"{md.plain(title)}:\n\n{md.table(head, rows)}"


def render_csv(report: ComparisonReport) -> str:
    """Return a row for each split of a config and of a pair; cells that do not apply are empty."""
    first = report.configs[0].name
    rows = []
    for config in report.configs:
        for corpus, runs in config.corpora.items():
            for split, scores in runs.splits.items():
                place = (config.name, corpus, split)
                pairs = {
                    pair.other: pair
                    for pair in report.pairs
                    if (pair.config, pair.corpus, pair.split) == place
                }
                for other in dict.fromkeys([first, *pairs]):
                    pair = pairs.get(other)
                    from_first = scores.difference_from_first if other == first else None
                    found = from_first or pair
                    low, high = found.interval if found and found.interval else (None, None)
                    rows.append(
                        {
                            "config": config.name,
                            "corpus": corpus,
                            "split": split,
                            "runs": len(scores.f1s),
                            "f1": scores.mean,
                            "f1_deviation": scores.deviation,
                            "compared_with": found and other,
                            "difference": found and found.difference,
                            "difference_low": low,
                            "difference_high": high,
                            "p": found and found.p,
                            "p_corrected": from_first and from_first.p_corrected,
                            "p_corrected_pairs": pair and pair.p_corrected,
                            **{name: getattr(runs, name) for name in COSTS},
                        }
                    )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: escape(cell) if isinstance(cell, str) else cell for key, cell in row.items()}
        )
    return text.getvalue()


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "<": r"$<$", ">": r"$>$"},
}


def render_latex(report: ComparisonReport) -> str:
    """Return the tables for LaTeX, which needs the package booktabs, with what explains them."""
    blocks = ["% \\usepackage{booktabs}"]
    for title, columns in tables(report):
        head, *rows = ([_escape_latex(cell) for cell in row] for row in zip(*columns, strict=True))
        lines = [
            "\\begin{table}",
            f"\\caption{{{_escape_latex(title)}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            "\\toprule",
            " & ".join(head) + r" \\",
            "\\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, *(f"% {escape(line)}" for line in legend(report))]) + "\n"


def _escape_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in escape(text))
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", escaped)
