"""Write docs/few_sentences.md and its figure from what benchmarks/few_sentences.py has measured.

python scripts/make_few_sentences.py
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from itertools import product
from pathlib import Path

from make_results import CORPORA, ROOT, machine, spread, table

from slotfill.lab.compare.learning_curve import LearningCurve
from slotfill.lab.probe.figures import plot_learning_curves, render
from slotfill.runs.environment import environment

sys.path.insert(0, str(ROOT / "benchmarks"))
from few_sentences import SIZES, SYSTEMS, read_scores

PAGE = ROOT / "docs" / "few_sentences.md"
FIGURE = ROOT / "docs" / "few_sentences.svg"
TEXT = Path(__file__).with_name("few_sentences.md")

SCORES = read_scores()


def f1s_by_draw(corpus: str, sentences: int, system: str) -> list[list[float]]:
    """Return the F1 of each seed, for each draw."""
    by_draw = defaultdict(list)
    for job, row in sorted(SCORES.items()):
        if (job.corpus, job.sentences, job.system) == (corpus, sentences, system):
            by_draw[job.draw].append(row["f1"])
    return list(by_draw.values())


def draw_means(corpus: str, sentences: int, system: str) -> list[float]:
    """Return the mean F1 of the seeds of each draw."""
    return list(map(statistics.mean, f1s_by_draw(corpus, sentences, system)))


def table_of_draws() -> str:
    """Return the table of the defaults with 100 sentences."""
    rows = []
    for corpus, name in CORPORA.items():
        f1s = f1s_by_draw(corpus, 100, "slotfill")
        means = list(map(statistics.mean, f1s))
        deviations = [statistics.stdev(seeds) for seeds in f1s if len(seeds) > 1]
        within = f"{statistics.mean(deviations):.2f}" if deviations else ""
        runs = ", ".join(str(len(seeds)) for seeds in f1s)
        each = ", ".join(f"{mean:.1f}" for mean in means)
        rows.append([name, runs, spread(means), each, within])
    return table(["", "runs of each draw", "test F1", "of each draw", "± of the seeds"], rows)


def table_of_sizes() -> str:
    """Return the table of the curves: mean and standard deviation of the draws."""
    rows = []
    for corpus, system in product(CORPORA, SYSTEMS):
        means = [draw_means(corpus, size, system) for size in SIZES]
        if any(means):
            cells = [spread(draws, 1) if draws else "" for draws in means]
            rows.append([f"{CORPORA[corpus]}, {system}", *cells])
    return table(["", *(f"{size:,}" for size in SIZES)], rows)


def curves() -> list[LearningCurve]:
    """Return the mean F1 of each draw by the number of sentences, for each system and corpus."""
    found = []
    for corpus, system in product(CORPORA, reversed(SYSTEMS)):
        means = {size: draw_means(corpus, size, system) for size in SIZES}
        sizes = [size for size in SIZES if means[size]]
        if sizes:
            fewest = min(len(means[size]) for size in sizes)
            f1s = [means[size][:fewest] for size in sizes]
            found.append(LearningCurve(system, CORPORA[corpus], "", sizes, f1s, None, None))
    return found


def training_time() -> str:
    """Return how long training and scoring the defaults takes, in words."""
    by_size = defaultdict(list)
    for job, row in SCORES.items():
        if job.system == "slotfill" and "cpu_seconds" in row:
            by_size[job.sentences].append(row["cpu_seconds"])
    times = [
        f"{min(seconds):.0f} to {max(seconds):.0f} s with {size:,}"
        for size, seconds in sorted(by_size.items())
    ]
    return f"Training slotfill and scoring it on test takes {', '.join(times)} sentences."


def main() -> None:
    """Write the page and the figure."""
    FIGURE.write_bytes(render(plot_learning_curves(curves()), ".svg"))
    about = f"{machine(environment())}, {max(row['date'] for row in SCORES.values())}."
    text = TEXT.read_text(encoding="utf-8")
    for name, part in (
        ("DRAWS", table_of_draws()),
        ("CURVES", table_of_sizes()),
        ("SECONDS", training_time()),
        ("MACHINE", about),
    ):
        text = text.replace(name, part)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)} and {FIGURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
