"""Train runs, and write the tables, the figure and an example's output of docs/confidence.md.

    python scripts/make_confidence_docs.py          train what is missing
    python scripts/make_confidence_docs.py --page   only the page, from existing runs

Calibration is measured on the runs of docs/results.md, in runs/results. The score of unfamiliar
sentences is measured on short runs, in runs/confidence: on ATIS, and on SNIPS without the sentences
of one and of two intents, which are then the unfamiliar ones.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from make_results import (
    CONFIGS,
    CORPORA,
    ROOT,
    machine,
    run_folder,
    slotfill,
    spread,
    table,
)
from make_results import train as train_result
from measured import BILSTM_CRF, record

from slotfill.data.splits import read_split
from slotfill.evaluation.calibration import (
    ReliabilityBin,
    chance_error,
    expected_calibration_error,
    intent_correctness,
    reliability_curve,
    slot_correctness,
)
from slotfill.inference.calibration import UNCALIBRATED
from slotfill.inference.tagging import predict
from slotfill.runs.load import Run, load_run

RUNS = ROOT / "runs" / "confidence"
PAGE = ROOT / "docs" / "confidence.md"
FIGURE = ROOT / "docs" / "confidence.svg"
SNIPS = ROOT.parent / "shared" / "data" / "snips"

SEEDS = (1, 2, 3)
RESULTS = [name for name in CONFIGS if name.removesuffix("-small") in CORPORA]
"""The configs that calibration is measured on."""

ATIS = ("atis-small", "intent=attention")
SNIPS_SHORT = (
    "snips-small",
    "intent=attention",
    "train.language_model_weight=0",
    "encoder.hidden_size=64",
    "train.epochs=5",
)
"""The arguments of the runs in runs/confidence, whose training is short."""

LEFT_OUT = {
    "snips-1": ("PlayMusic",),
    "snips-2": ("RateBook", "SearchScreeningEvent"),
}
"""The intents that runs on SNIPS are trained without."""


def train(name: str, arguments: Sequence[str]) -> None:
    """Train the run `name` of runs/confidence if it is missing."""
    if not (RUNS / name).is_dir():
        print(f"training {name}", flush=True)
        options = ["train.processes=1", "--device", "cpu", "--seed", 1, "--out", RUNS / name]
        slotfill("train", *arguments, *options, "--force")


def snips_examples(split: str) -> Iterator[tuple[str, str, str]]:
    """Yield the words, the tags and the intent of each sentence of SNIPS."""
    files = (
        (SNIPS / split / name).read_text(encoding="utf-8").splitlines()
        for name in ("seq.in", "seq.out", "label")
    )
    for words, tags, intent in zip(*files, strict=True):
        yield words.strip(), tags.strip(), intent.strip()


def write_without(name: str, intents: Sequence[str]) -> Path:
    """Write SNIPS without the sentences of `intents`; return its folder."""
    folder = RUNS / f"{name}.data"
    for split in ("train", "valid", "test"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        rows = [row for row in snips_examples(split) if row[2] not in intents]
        for index, file in enumerate(("seq.in", "seq.out", "label")):
            lines = "".join(f"{row[index]}\n" for row in rows)
            (folder / split / file).write_text(lines, encoding="utf-8")
    return folder


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the probability that a positive has a higher score than a negative; ties are half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def auroc_with_interval(positive: np.ndarray, negative: np.ndarray) -> str:
    """Return the AUROC with its 95 % bootstrap interval over sentences."""
    random = np.random.default_rng(0)
    draws = [
        auroc(random.choice(positive, len(positive)), random.choice(negative, len(negative)))
        for _ in range(1000)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{auroc(positive, negative):.3f} ({low:.3f} to {high:.3f})"


def familiarity(run: Run, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return `in_domain` of each text, and what it is made of, `(sentences,)` each."""
    sentences = [run.vocab.tokenizer.tokenize(text) for text in texts]
    confidences = predict(run.engine, run.vocab, sentences, run.calibration).confidences or []
    rows = [
        (
            confidence.in_domain,
            run.vocab.known_share(sentence.tokens),
            confidence.reading ** (1 / len(sentence.tokens)),
            1.0 if confidence.intent is None else confidence.intent,
        )
        for sentence, confidence in zip(sentences, confidences, strict=True)
    ]
    names = ("`in_domain`", "known words", "P(slots) per token", "P(intent)")
    return dict(zip(names, np.array(rows).T, strict=True))


def unfamiliar_table() -> str:
    """Return the table of AUROC."""
    atis = load_run(RUNS / "atis")
    test = read_split(atis.config.data, "test", tokenizer=atis.vocab.tokenizer).sentences
    snips = [words for words, _, _ in snips_examples("test")]
    rows = [unfamiliar_row("ATIS, with SNIPS", atis, [each.text for each in test], snips)]
    for name, intents in LEFT_OUT.items():
        own = [words for words, _, intent in snips_examples("test") if intent not in intents]
        splits = (snips_examples(split) for split in ("test", "valid"))
        other = [words for split in splits for words, _, intent in split if intent in intents]
        label = f"SNIPS without {' and '.join(intents)}"
        rows.append(unfamiliar_row(label, load_run(RUNS / name), own, other))
    names = ["`in_domain`", "known words", "P(slots) per token", "P(intent)"]
    return table(["trained on", "familiar", "unfamiliar", *names], rows)


def unfamiliar_row(label: str, run: Run, own: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return a row of the table of AUROC."""
    inside, outside = familiarity(run, own), familiarity(run, other)
    scores = [auroc_with_interval(inside[name], outside[name]) for name in inside]
    return [label, f"{len(own):,}", f"{len(other):,}", *scores]


Measured = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def measure(run: Run) -> Measured:
    """Return confidences on test without and with temperature, and which are correct, by kind."""
    sentences = read_split(run.config.data, "test", tokenizer=run.vocab.tokenizer).sentences
    before = predict(run.engine, run.vocab, sentences, UNCALIBRATED)
    after = predict(run.engine, run.vocab, sentences, run.calibration)
    judged, correct = slot_correctness(sentences, after.slots)
    measured = {"slots": (before.slot_confidences[judged], after.slot_confidences[judged], correct)}
    if run.vocab.intents:
        correct = intent_correctness(sentences, after.intents)
        measured["intents"] = (before.intent_confidences, after.intent_confidences, correct)
    return measured


def calibration_rows(name: str, runs: dict[int, Run], measured: list[Measured]) -> list[list[str]]:
    """Return the rows of the table of calibration: means and standard deviations over seeds."""
    rows = []
    for kind in measured[0]:
        befores, afters, corrects = zip(*(each[kind] for each in measured), strict=True)
        without = list(zip(befores, corrects, strict=True))
        with_it = list(zip(afters, corrects, strict=True))
        temperature = f"{kind.removesuffix('s')}_temperature"
        rows.append(
            [
                f"`{name}`, {kind}",
                ", ".join(map(str, runs)),
                f"{statistics.mean(map(len, corrects)):,.0f}",
                spread([100 * correct.mean() for correct in corrects]),
                spread([getattr(run.calibration, temperature) for run in runs.values()]),
                spread([expected_calibration_error(*each) for each in without]),
                spread([expected_calibration_error(*each) for each in with_it]),
                f"{statistics.mean(map(chance_error, afters)):.2f}",
                spread([bins_in_range(*each) for each in without], 1),
                spread([bins_in_range(*each) for each in with_it], 1),
                f"{statistics.mean(map(bins_expected, afters)):.1f}",
            ]
        )
    return rows


def bins_in_range(confidences: np.ndarray, correct: np.ndarray) -> int:
    """Return in how many bins the accuracy is in the range of perfect calibration."""
    return sum(each.is_in_range for each in reliability_curve(confidences, correct))


def bins_expected(confidences: np.ndarray) -> float:
    """Return in how many bins it would be on average, from 1,000 draws of what is correct."""
    random = np.random.default_rng(0)
    curve = reliability_curve(confidences, random.random(len(confidences)) < confidences)
    edges = np.cumsum([0] + [each.size for each in curve])[:-1]
    sizes = np.array([each.size for each in curve])
    lows, highs = (np.array([getattr(each, side) for each in curve]) for side in ("low", "high"))
    ordered = np.sort(confidences)
    inside = []
    for _ in range(1000):
        accuracies = (
            np.add.reduceat(random.random(len(ordered)) < ordered, edges, dtype=int) / sizes
        )
        inside.append(((lows <= accuracies) & (accuracies <= highs)).sum())
    return float(np.mean(inside))


def threshold_example() -> str:
    """Return what the command of the page prints for a run of `atis`."""
    with TemporaryDirectory() as folder:
        shutil.copytree(run_folder("atis", 1), Path(folder, "runs", "atis"))
        command = [sys.executable, "-m", "slotfill", "threshold", "runs/atis"]
        done = subprocess.run(
            [*command, "--precision", "0.98"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
    lines = "\n".join(map(str.rstrip, done.stdout.rstrip().splitlines()))
    return f"```text\n{lines}\n```"


SIDE, GAP = 220, 50
STYLE = """text { font: 11px sans-serif; fill: #888 } .title { font-size: 13px }
.axis, .diagonal { stroke: #888; fill: none } .diagonal { stroke-dasharray: 4 3 }
.before { stroke: #d08030; fill: none } .after { stroke: #3070c0; fill: none }
.range { stroke: #3070c0; stroke-opacity: 0.35; stroke-width: 2 } .in { fill: #3070c0 }
.out { fill: #fff; stroke: #c02020; stroke-width: 1.5 }"""


def draw(panels: dict[str, list[Measured]]) -> str:
    """Return the reliability curves of slots as SVG: a panel for each corpus, a line for each seed.

    Confidence is to the right and accuracy upwards; scaled by the root of the distance from 1.
    """
    width, height = len(panels) * (SIDE + GAP) + GAP, SIDE + 2 * GAP + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="reliability of slots"><style>{STYLE}</style>'
    ]
    for panel, (label, measured) in enumerate(panels.items()):
        curves = []
        for kinds in measured:
            before, after, correct = kinds["slots"]
            curves.append((reliability_curve(before, correct), reliability_curve(after, correct)))
        parts += _panel(label, curves, GAP + panel * (SIDE + GAP), GAP + SIDE)
    legend = (
        "confidence to the right, share of correct slots upwards; a line for each seed:"
        " orange without temperature, blue with it.",
        "Bars: the ranges of calibrated confidences; a point outside of its own is hollow and red.",
    )
    for row, words in enumerate(legend):
        y = height - 20 + 14 * row
        parts.append(f'<text x="{GAP}" y="{y}">{words}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


Curve = Sequence[ReliabilityBin]


def _panel(
    label: str, curves: Sequence[tuple[Curve, Curve]], left: float, bottom: float
) -> Iterator[str]:
    every = [each for before, after in curves for each in (*before, *after)]
    lowest = int(10 * min(min(each.confidence, each.accuracy, each.low) for each in every)) / 10

    def place(value: float) -> float:
        # By the square root of the distance from 1, where most of the bins are.
        return SIDE * (1 - math.sqrt((1 - value) / (1 - lowest)))

    def point(x: float, y: float) -> str:
        return f"{left + place(x):.1f},{bottom - place(y):.1f}"

    yield f'<text class="title" x="{left}" y="{bottom - SIDE - 10}">{label}</text>'
    yield f'<rect class="axis" x="{left}" y="{bottom - SIDE}" width="{SIDE}" height="{SIDE}"/>'
    corners = f"{point(lowest, lowest)} {point(1, 1)}"
    yield f'<polyline class="diagonal" points="{corners}"/>'
    for value in sorted({lowest, *(tick for tick in (0.7, 0.9, 0.99, 1.0) if tick > lowest)}):
        x, y = left + place(value), bottom - place(value)
        yield f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{value:g}</text>'
        yield f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    for _, after in curves:
        for each in after:
            bar = f"{point(each.confidence, each.low)} {point(each.confidence, each.high)}"
            yield f'<polyline class="range" points="{bar}"/>'
    for both in curves:
        for name, curve in zip(("before", "after"), both, strict=True):
            points = " ".join(point(each.confidence, each.accuracy) for each in curve)
            yield f'<polyline class="{name}" points="{points}"/>'
    for _, after in curves:
        for each in after:
            x_text, y_text = point(each.confidence, each.accuracy).split(",")
            kind = "in" if each.is_in_range else "out"
            yield f'<circle class="{kind}" cx="{x_text}" cy="{y_text}" r="2.5"/>'


def replace_block(text: str, name: str, content: str) -> str:
    """Return `text` with the block of this name replaced."""
    pattern = re.compile(rf"(<!-- {name}: [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
    assert pattern.search(text), f"docs/confidence.md has no block {name}"
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text)


def main() -> None:
    """Train what is missing; write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="train nothing")
    if not parser.parse_args().page:
        for seed in SEEDS:
            for name in RESULTS:
                train_result((name, seed))
        train("atis", ATIS)
        for name, intents in LEFT_OUT.items():
            train(name, [*SNIPS_SHORT, f"data.path={write_without(name, intents)}"])
    rows: list[list[str]] = []
    panels: dict[str, list[Measured]] = {}
    finished = []
    for name in RESULTS:
        folders = {seed: run_folder(name, seed) for seed in SEEDS}
        runs = {seed: load_run(folder) for seed, folder in folders.items() if folder.is_dir()}
        measured = [measure(run) for run in runs.values()]
        rows += calibration_rows(name, runs, measured)
        if name in CORPORA:
            panels[CORPORA[name]] = measured
        for seed in runs:
            environment = json.loads((folders[seed] / "environment.json").read_text("utf-8"))
            finished.append(environment["finished"][:10])
    head = ["run, predictions", "seeds", "number", "correct, %", "T", "error, %"]
    head += ["error with T, %", "by chance, %", "bins", "bins with T", "bins expected"]
    dates = " to ".join(sorted({min(finished), max(finished)}))
    calibration = f"{table(head, rows)}\n\n{machine(environment)}; {dates}."
    text = PAGE.read_text(encoding="utf-8")
    text = replace_block(text, "threshold", threshold_example())
    text = replace_block(text, "unfamiliar", unfamiliar_table())
    text = replace_block(text, "calibration", calibration)
    PAGE.write_text(text, encoding="utf-8")
    FIGURE.write_text(draw(panels), encoding="utf-8")
    folders = [run_folder(name, seed) for name in RESULTS for seed in SEEDS]
    command = "python scripts/make_confidence_docs.py"
    runs = filter(Path.is_dir, folders)
    analysis = ["scripts/make_confidence_docs.py"]
    record("docs/confidence.md", command, *BILSTM_CRF, runs=runs, analysis=analysis)


if __name__ == "__main__":
    main()
