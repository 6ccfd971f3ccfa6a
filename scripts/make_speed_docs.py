"""Write docs/speed.md and its figure from benchmarks/speed.json, the output of benchmarks/run.py.

    python scripts/make_speed_docs.py                     write the page and the figure
    python scripts/make_speed_docs.py --check             exit 1 if the page is not up to date
    python scripts/make_speed_docs.py --json F --page F   from other measurements, to another page

The bounds, and whether they hold, are evaluated here.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from make_results import spread, table

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "benchmarks" / "speed.json"
PAGE = ROOT / "docs" / "speed.md"

Part = dict[str, Any]

CORPORA = {"atis": "ATIS", "snips": "SNIPS", "mit_restaurant": "MIT Restaurant"}
OWN_SYSTEMS = ("best", "small", "small, 8 bits")
CLOSE = 0.3
"""Largest distance in F1 points to the best config of the config that is compared."""

THROUGHPUT = {"atis": (3, 5), "snips": (2, 3), "mit_restaurant": (1, 2)}
"""Required and targeted throughput, as multiples of CRFsuite's."""

STRAIGHT = 1.05
"""Largest slope that counts as linear, and largest growth of memory that counts as constant."""


class Bound(NamedTuple):
    """A requirement, the measured figure, whether it holds, and `aim`, a stricter target."""

    asked: str
    figure: str
    holds: bool
    aim: str = ""


def number(figure: dict[str, float], digits: int) -> str:
    """Return a median, with minimum and maximum if they differ."""
    if figure["least"] == figure["most"]:
        return f"{figure['median']:,.{digits}f}"
    return (
        f"{figure['median']:,.{digits}f} ({figure['least']:,.{digits}f} to"
        f" {figure['most']:,.{digits}f})"
    )


def times(value: float, reference: float) -> str:
    """Return `value` as a multiple of `reference`."""
    return f"{value / reference:.2f}"


# Prediction


def fastest_config(corpus: Part) -> str:
    """Return the name of the fastest of our configs whose mean F1 is close to the best."""
    least = mean(corpus["best"]["f1_of_seeds"]) - CLOSE
    close = [name for name in OWN_SYSTEMS if mean(corpus[name]["f1_of_seeds"]) >= least]
    return max(close, key=lambda name: float(corpus[name]["tokens_per_second"]["median"]))


def display_name(name: str, corpus: str) -> str:
    """Return the name of a system in the tables."""
    if name not in OWN_SYSTEMS:
        return name
    config = corpus if name == "best" else f"{corpus}-small"
    return f"slotfill `{config}`" + (", 8 bits" if name == "small, 8 bits" else "")


def prediction(part: Part) -> str:
    """Return the section on prediction."""
    tables, costs, stages, shares = [], [], [], []
    for corpus, systems in part.items():
        rows = [
            [
                display_name(name, corpus),
                f"{row['f1']:.2f}",
                spread(row["f1_of_seeds"]) if name in OWN_SYSTEMS else "",
                number(row["tokens_per_second"], 0),
                times(
                    row["tokens_per_second"]["median"],
                    systems["CRFsuite"]["tokens_per_second"]["median"],
                ),
                number(row["milliseconds"], 3),
                number(row["milliseconds_p99"], 3),
                f"{row['peak_mb']:.0f}",
            ]
            for name, row in systems.items()
        ]
        head = [
            "",
            "F1",
            "mean F1",
            "tokens/s",
            "of CRFsuite's",
            "one sentence, ms",
            "99th percentile, ms",
            "peak MB",
        ]
        tables.append(f"### {CORPORA[corpus]}\n\n{table(head, rows)}")
        for name in OWN_SYSTEMS:
            row = systems[name]
            costs.append([display_name(name, corpus), *confidence_cost(row)])
            spent = {stage: timing["median"] for stage, timing in row["stages"].items()}
            core, network = (
                row["gflops_of_the_core"],
                row["operations_a_token"] / spent["network"] / 1e3,
            )
            stages.append([display_name(name, corpus), *(f"{each:.2f}" for each in spent.values())])
            shares.append(
                [
                    display_name(name, corpus),
                    f"{row['operations_a_token']:,}",
                    f"{row['gflops']:.1f}",
                    f"{core:.1f}",
                    f"{100 * row['gflops'] / core:.0f} %",
                    f"{100 * network / core:.0f} %",
                ]
            )
    names = list(next(iter(part.values()))["best"]["stages"])
    seeds = len(next(iter(part.values()))["best"]["f1_of_seeds"])
    operations = [
        "",
        "operations per token",
        "GFLOP/s",
        "core's peak",
        "share",
        "share within the network",
    ]
    return f"""\
All systems do the same work: from 5,000 raw lines (the test set, repeated) to JSON lines, without
start-up, each in a separate process with one thread, pinned to the same core. "One sentence" is one
text at a time, in process, from text to slots, with cached words. F1 is that of the written
predictions with seed 1; the mean is over seeds 1 to {seeds}. "Of CRFsuite's" is a ratio of medians.

{chr(10).join(f"{each}{chr(10)}" for each in tables)}
### What confidence costs

slotfill above is without confidences (`--no-confidence`), since the peers give none. With them, in
the same run:

{table(CONFIDENCE_HEAD, costs)}

### Where the time goes

Microseconds per token of each stage, one after the other on one thread; `predict` runs them in a
pipeline.

{table(["", *names], stages)}

Arithmetic compared with the core's peak: an operation is an addition or multiplication in a matrix
product, including recurrent layers, without padding; the peak is that of NumPy's product of two
float32 matrices of 1,024 x 1,024. The first share is of the total time, the second of the time in
the network.

{table(operations, shares)}"""


CONFIDENCE_HEAD = ["", "tokens/s", "of those without", "one sentence, ms", "more, ms"]


def confidence_cost(row: Part) -> list[str]:
    """Return the columns of `CONFIDENCE_HEAD` for a system."""
    own = row["with confidence"]
    return [
        number(own["tokens_per_second"], 0),
        times(own["tokens_per_second"]["median"], row["tokens_per_second"]["median"]),
        number(own["milliseconds"], 3),
        f"{own['milliseconds']['median'] - row['milliseconds']['median']:+.3f}",
    ]


def prediction_bounds(part: Part) -> Iterator[Bound]:
    """Yield what is asked of throughput, of one sentence alone, and of memory."""
    for corpus, (least, aim) in THROUGHPUT.items():
        name = fastest_config(part[corpus])
        own, crfsuite = (
            part[corpus][each]["tokens_per_second"]["median"] for each in (name, "CRFsuite")
        )
        system = display_name(name, corpus)
        asked = f"{CORPORA[corpus]}: {system}, tokens/s at least {least} times CRFsuite's"
        yield _make_bound(asked, own / crfsuite, least, aim, "{:.2f} times")
    for corpus in THROUGHPUT:
        systems, name = part[corpus], fastest_config(part[corpus])
        alone, slow = (systems[name][key]["median"] for key in ("milliseconds", "milliseconds_p99"))
        if corpus == "atis":
            crfsuite = systems["CRFsuite"]["milliseconds"]["median"]
            asked = f"ATIS: one sentence in no more than CRFsuite's {crfsuite:.3f} ms"
            yield Bound(asked, f"{alone:.3f} ms", alone <= crfsuite)
        yield Bound(
            f"{CORPORA[corpus]}: one sentence in under 0.25 ms", f"{alone:.3f} ms", alone < 0.25
        )
        asked = f"{CORPORA[corpus]}: 99th percentile under 3 times the median"
        yield Bound(asked, f"{slow / alone:.2f} times", slow < 3 * alone)
    for name in ("best", fastest_config(part["atis"])):
        row, system = part["atis"][name], display_name(name, "atis")
        own = row["with confidence"]
        lost = 1 - own["tokens_per_second"]["median"] / row["tokens_per_second"]["median"]
        asked = f"ATIS: {system}, confidence costs at most 25 % of tokens/s"
        yield Bound(asked, f"{100 * lost:.0f} %", lost <= 0.25)
        more = own["milliseconds"]["median"] - row["milliseconds"]["median"]
        asked = f"ATIS: {system}, confidence costs at most 0.05 ms a sentence"
        yield Bound(asked, f"{more:.3f} ms", more <= 0.05)
    peak = part["atis"]["best"]["peak_mb"]
    yield Bound("Predicting with the run of `atis` under 200 MB", f"{peak:.0f} MB", peak < 200)


# Start, training, cells


def cold_start(part: Part) -> str:
    """Return the section on the start of a process."""
    bare = part["import numpy, onnxruntime"]["median"]
    rows = [
        [
            f"`{name}`" if name.startswith("import") else name,
            number(row, 3),
            times(row["median"], bare),
        ]
        for name, row in part.items()
    ]
    return f"""\
From the start of a process to its end, for one sentence; on one core, in turn. slotfill is
`slotfill predict RUN "leave Taipei on November 2nd"` with the run of `atis`.

{table(["", "s", "of the imports"], rows)}"""


def cold_start_bounds(part: Part) -> Iterator[Bound]:
    """Yield what is asked of the start."""
    own, bare, spacy = (
        part[name]["median"] for name in ("slotfill", "import numpy, onnxruntime", "spaCy")
    )
    asked = "Cold start at most 3 times that of `import numpy, onnxruntime`"
    yield Bound(asked, f"{own / bare:.2f} times", own <= 3 * bare)
    yield Bound(f"Cold start faster than spaCy's {spacy:.2f} s", f"{own:.2f} s", own < spacy)


def training(part: Part) -> str:
    """Return the section on training."""
    crfsuite, own = part["CRFsuite"], part["slotfill"]
    all_of_theirs = crfsuite["seconds"]["median"]
    rows = [
        [
            "CRFsuite",
            number(crfsuite["seconds"], 1),
            "1.00",
            number(crfsuite["seconds"], 1),
            f"{crfsuite['f1']:.2f}",
        ],
        [
            "slotfill, one network",
            number(own["seconds to best"], 1),
            times(own["seconds to best"]["median"], all_of_theirs),
            number(own["seconds in all"], 1),
            f"{own['f1']:.2f}",
        ],
    ]
    return f"""`slotfill train atis {shlex.join(own["settings"])}`, one network without the options
that make the config slower and more accurate ([results.md](results.md) has the times of all
configs), and CRFsuite on the same sentences, in turn, on the same cores. Seconds to the best epoch
are those of the complete command, including the start of Python, scoring and export, minus the
epochs after the selected one.

{table(["", "s to the best epoch", "of CRFsuite's", "total s", "F1"], rows)}

An epoch takes {number(own["epoch seconds"], 2)} s, including validation, and computes
{own["operations_an_epoch"] / 1e9:,.1f} billion operations: {own["gflops"]:.1f} GFLOP/s,
{100 * own["share"]:.0f} % of the {own["gflops_of_two_cores"]:.1f} of matrix products on all cores,
one process per core. Operations are the products of the forward passes on the training sentences,
as counted by torch's FlopCounterMode, times 3 (the backward pass has two products for each),
without padding and validation."""


def training_bounds(part: Part) -> Iterator[Bound]:
    """Yield what is asked of training."""
    crfsuite, own = part["CRFsuite"], part["slotfill"]
    share = own["seconds to best"]["median"] / crfsuite["seconds"]["median"]
    yield Bound(
        "Training to the best at most 0.25 of CRFsuite's time", f"{share:.2f}", share <= 0.25
    )
    more = own["f1"] - crfsuite["f1"]
    yield Bound("F1 at least 2 points above CRFsuite's", f"{more:+.2f} points", more >= 2)
    yield _make_bound(
        "An epoch at 30 % of the machine's peak", 100 * own["share"], 30, 50, "{:.0f} %"
    )


def cells(part: Part) -> str:
    """Return the section on cells."""
    sizes = list(part)
    memory = all("memory_mb" in row for rows in part.values() for row in rows.values())
    rows = []
    for name in part[sizes[0]]:
        row = [name]
        for size in sizes:
            series = part[size][name]
            row += [
                f"{series['milliseconds']:.1f}",
                f"{series['of torch nn.LSTM']:.2f}",
                f"{series['parameters']:,}",
            ]
            row += [f"{series['memory_mb']:.1f}"] if memory else []
        rows.append(row)
    columns = ["ms", "of nn.LSTM", "parameters", *(["MB"] if memory else [])]
    head = ["cell", *(f"{column}, {size} hidden" for size in sizes for column in columns)]
    return f"""\
Forward and backward pass of one bidirectional layer, input size equal to hidden size, one thread,
in turn; medians. "of nn.LSTM" is the time as a multiple of that of torch's own. Batch and steps:
`benchmarks/cells.py`.

{table(head, rows)}"""


# Growth

TITLES = {"training": "Training", "prediction": "Prediction", "start-up": "Start-up"}
SIZES = {"sentences": "sentences", "tokens": "tokens", "MB": "MB of run folder"}
WHAT = {"seconds": "s", "epoch_seconds": "s of the epoch", "peak_mb": "peak MB"}


def growth(part: Part) -> str:
    """Return the section on growth."""
    tables = []
    for name, series in part.items():
        columns = [what for what in WHAT if what in series["slopes"]]
        rows = [
            [
                _format_size(row["size"]),
                *(number(row[what], 0 if what == "peak_mb" else 2) for what in columns),
                str(row["repeats"]),
            ]
            for row in series["rows"]
        ]
        slopes = [
            f"slope from {_format_size(series['slopes_from'])}",
            *(f"{series['slopes'][what]:.2f}" for what in columns),
            "",
        ]
        if "all_cores" in series:
            free = series["all_cores"]
            figures = [number(free[what], 0 if what == "peak_mb" else 2) for what in columns]
            rows.append(
                [f"{_format_size(free['size'])}, on all cores", *figures, str(free["repeats"])]
            )
        head = [SIZES[series["of"]], *(WHAT[what] for what in columns), "repeats"]
        tables.append(f"### {TITLES[name]}\n\n{table(head, [*rows, slopes])}")
    new = part["prediction"]["new_words"]
    return f"""![Time and memory by size](speed/growth.svg)

Each size is a separate command on one core: its seconds and its peak memory. The slope is that of
the measurements against the sizes on a log-log scale, starting from the named size: 1 is twice the
time for twice the size, less is better. The dotted lines of the picture have slope 1 and pass
through the last point.

- **Training**: `slotfill train` of a small network for one epoch, on repeated sentences of the
Taipei corpus with varying   cities. - **Prediction**: `slotfill predict` with the run of `atis`, on
repeated test sentences; one word in {new} is new, so that   caches are exercised.
- **Start-up**: `slotfill predict` of one sentence, with runs of growing vocabularies.

{chr(10).join(f"{each}{chr(10)}" for each in tables)}""".rstrip()


def growth_bounds(part: Part) -> Iterator[Bound]:
    """Yield what is asked of growth."""
    for name, series in part.items():
        for what, unit in (("seconds", "time"), ("peak_mb", "memory")):
            slope = series["slopes"][what]
            first, last = (_format_size(series["rows"][index]["size"]) for index in (0, -1))
            asked = (
                f"{TITLES[name]}, {first} to {last} {SIZES[series['of']]}: {unit} linear or better"
            )
            yield Bound(asked, f"slope {slope:.2f}", slope <= STRAIGHT)
    *_, before, last = part["prediction"]["rows"]
    ratio = last["peak_mb"]["median"] / before["peak_mb"]["median"]
    asked = (
        f"Memory of predicting constant: that of {_format_size(last['size'])} tokens against"
        f" {_format_size(before['size'])}"
    )
    yield Bound(asked, f"{ratio:.2f} times", ratio <= STRAIGHT)
    peak = max(each["peak_mb"]["most"] for each in (last, part["prediction"]["all_cores"]))
    yield Bound(
        f"Predicting {_format_size(last['size'])} tokens with the run of `atis` under 200 MB",
        f"{peak:.0f} MB",
        peak < 200,
    )


def picture(part: Part) -> bytes:
    """Return the picture of growth: time above, memory below."""
    import matplotlib
    from matplotlib.figure import Figure

    from slotfill.lab.probe import figures

    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(7 * len(part), 11), layout="constrained", facecolor="white")
        grid = figure.subplots(2, len(part), sharex="col", sharey="row", squeeze=False)
    for column, (name, series) in enumerate(part.items()):
        sizes = [row["size"] for row in series["rows"]]
        for row, what in enumerate(("seconds", "peak_mb")):
            axes = grid[row][column]
            runs = [
                [each[what][which] for each in series["rows"]]
                for which in ("least", "median", "most")
            ]
            with matplotlib.rc_context(figures.STYLE):
                axes.set(xscale="log", yscale="log")
                figures.line(axes, row, sizes, runs, median)
                straight = [runs[1][-1] * size / sizes[-1] for size in sizes]
                axes.plot(sizes, straight, color=figures.GRAY, linestyle=":", linewidth=2)
        with matplotlib.rc_context(figures.STYLE):
            grid[0][column].set_title(TITLES[name])
            grid[1][column].set_xlabel(SIZES[series["of"]])
    for axes, what, label in zip(
        grid[:, 0], ("seconds", "peak_mb"), ("seconds", "peak MB"), strict=True
    ):
        each = [row[what] for series in part.values() for row in series["rows"]]
        # As high as the figures are: the straight lines may leave below.
        axes.set(
            ylabel=label,
            ylim=(min(row["least"] for row in each) / 2, 2 * max(row["most"] for row in each)),
        )
    return figures.render(figure, ".svg")


def _format_size(size: float) -> str:
    return f"{size:,.0f}" if size >= 10 else f"{size:.1f}"


# The page


def _make_bound(asked: str, value: float, least: float, aim: float, form: str) -> Bound:
    return Bound(
        asked,
        form.format(value),
        value >= least,
        f"{aim}: {'reached' if value >= aim else 'not reached'}",
    )


SECTIONS: dict[str, tuple[str, Callable[[Part], str], Callable[[Part], Iterator[Bound]] | None]] = {
    "prediction": ("Prediction", prediction, prediction_bounds),
    "cold_start": ("Cold start", cold_start, cold_start_bounds),
    "training": ("Training", training, training_bounds),
    "cells": ("Every cell's loop over time", cells, None),
    "growth": ("Growth", growth, growth_bounds),
}


def page(speed: Part) -> str:
    """Return docs/speed.md."""
    environment = speed["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    bounds = [
        bound
        for name, (*_, of) in SECTIONS.items()
        if of and name in speed
        for bound in of(speed[name])
    ]
    rows = [
        [bound.asked, bound.figure, "yes" if bound.holds else "**no**", bound.aim]
        for bound in bounds
    ]
    short = sum(not bound.holds for bound in bounds)
    sections = "\n\n".join(
        f"## {title}\n\n"
        + (
            f"Measured on {speed['dates'][name]}.\n\n{write(speed[name])}"
            if name in speed
            else f"Not measured yet: `python benchmarks/run.py {name}`."
        )
        for name, (title, write, _) in SECTIONS.items()
    )
    return f"""# Speed

This page shows how fast slotfill trains, starts and predicts, how much memory it needs, and how
that grows. `python scripts/make_speed_docs.py` writes it from the measurements of `python
benchmarks/run.py`.

slotfill and its peers, measured side by side on the same machine in the same run:
{environment["processors"]} processors, {environment["platform"]}; Python {environment["python"]},
{versions}. Nothing else was running on the measured cores, except for the row "on
all cores" under growth. The systems are measured in turn, repeatedly, so that they share the noise;
each figure is a median, with minimum and maximum in parentheses.

## Bounds

{_count_bounds(len(bounds), short)}

{table(["bound", "measured", "holds", "target"], rows)}

Throughput and latency are those of the fastest of our configs, as trained or as exported by
`slotfill export --quantize int8 --rank 64` ("8 bits"), whose mean F1 over seeds is within {CLOSE}
of the best. Linear and constant growth allow a tolerance of 5 %.

{sections}
"""


def _count_bounds(asked: int, short: int) -> str:
    if not asked:
        return "Nothing has been measured yet."
    return f"All {asked} hold." if not short else f"{asked - short} of {asked} hold."


def main() -> int:
    """Write the page and the picture, or check the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page would change"
    )
    parser.add_argument("--json", type=Path, default=FIGURES, help="the figures")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="the page; the picture goes into a folder beside it"
    )
    args = parser.parse_args()
    if not args.json.is_file():
        sys.exit(f"{args.json} is not there yet: python benchmarks/run.py")
    speed = json.loads(args.json.read_text(encoding="utf-8"))
    text, drawing = page(speed), args.page.with_suffix("") / "growth.svg"
    if args.check:
        # Another matplotlib draws other bytes, so of the picture no more is asked than to be there.
        same = args.page.is_file() and args.page.read_text(encoding="utf-8") == text
        if not same or ("growth" in speed and not drawing.is_file()):
            print(
                f"{args.page.name} is not what scripts/make_speed_docs.py writes: run it",
                file=sys.stderr,
            )
            return 1
        return 0
    args.page.write_text(text, encoding="utf-8", newline="\n")
    if "growth" in speed:
        drawing.parent.mkdir(exist_ok=True)
        drawing.write_bytes(picture(speed["growth"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
