"""Train runs, and write the tables and the figure of docs/confidence.md.

    python scripts/make_confidence_docs.py              train what is missing in runs/confidence
    python scripts/make_confidence_docs.py --epochs 4   with fewer epochs, to try it
    python scripts/make_confidence_docs.py --page       only the page, from existing runs

Besides each corpus, SNIPS is trained on without the sentences of one and of two intents; those left
out are then the unfamiliar ones.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from make_results import ROOT, machine, table

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

SHORT = ("train.language_model_weight=0", "encoder.hidden_size=64")
"""What makes training short; calibration does not need the best tagger."""

CORPORA = {
    "atis": ("ATIS", ["atis-small", "intent=attention"]),
    "snips": ("SNIPS", ["snips-small", "intent=attention", *SHORT, "train.epochs=5"]),
    "mit_restaurant": ("MIT Restaurant", ["mit_restaurant-small", *SHORT, "train.epochs=8"]),
}
"""The name of each corpus, and the arguments of the run that is trained on it."""

LEFT_OUT = {
    "snips-1": ("PlayMusic",),
    "snips-2": ("RateBook", "SearchScreeningEvent"),
}
"""The intents that runs on SNIPS are trained without."""


def train(name: str, arguments: Sequence[str], epochs: int | None) -> None:
    """Train the run `name` if it is missing."""
    folder = RUNS / name
    if folder.is_dir():
        return
    print(f"training {name}", flush=True)
    settings = ["train.processes=1", *([f"train.epochs={epochs}"] if epochs else [])]
    settings += ["--device", "cpu", "--seed", "1", "--out", str(folder), "--force"]
    command = [sys.executable, "-m", "slotfill", "train", *arguments, *settings]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


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


def unfamiliar_row(label: str, run: Run, own: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return the row of the table of AUROC."""
    inside, outside = familiarity(run, own), familiarity(run, other)
    scores = [auroc_with_interval(inside[name], outside[name]) for name in inside]
    return [label, f"{len(own):,}", f"{len(other):,}", *scores]


Measured = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def test_texts(run: Run) -> list[str]:
    """Return the texts of the test sentences of `run`."""
    sentences = read_split(run.config.data, "test", tokenizer=run.vocab.tokenizer).sentences
    return [sentence.text for sentence in sentences]


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


def calibration_rows(label: str, run: Run, measured: Measured) -> Iterator[list[str]]:
    """Yield the rows of the table of calibration errors."""
    temperatures = {
        "slots": run.calibration.slot_temperature,
        "intents": run.calibration.intent_temperature,
    }
    for kind, (before, after, correct) in measured.items():
        yield [
            f"{label}, {kind}",
            f"{len(correct):,}",
            f"{100 * correct.mean():.2f}",
            f"{temperatures[kind]:.2f}",
            *(f"{expected_calibration_error(each, correct):.2f}" for each in (before, after)),
            f"{chance_error(after):.2f}",
            *(count_calibrated(reliability_curve(each, correct)) for each in (before, after)),
            calibrated_bins(after),
        ]


def count_calibrated(curve: Sequence[ReliabilityBin]) -> str:
    """Return in how many bins the accuracy is in the range of perfect calibration."""
    return f"{sum(each.is_in_range for each in curve)} of {len(curve)}"


def calibrated_bins(confidences: np.ndarray) -> str:
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
    return f"{np.mean(inside):.1f}"


SIDE, GAP = 220, 50
STYLE = """text { font: 11px sans-serif; fill: #888 } .title { font-size: 13px }
.axis, .diagonal { stroke: #888; fill: none } .diagonal { stroke-dasharray: 4 3 }
.before { stroke: #d08030; fill: none } .after { stroke: #3070c0; fill: #3070c0 }"""


def draw(measured: dict[str, Measured]) -> str:
    """Return the reliability curves of slots as SVG, a panel for each corpus.

    Confidence is to the right and accuracy upwards; both axes begin at `LOWEST`.
    """
    width, height = len(measured) * (SIDE + GAP) + GAP, SIDE + 2 * GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="reliability of slots"><style>{STYLE}</style>'
    ]
    for panel, (label, kinds) in enumerate(measured.items()):
        before, after, correct = kinds["slots"]
        curves = {
            name: reliability_curve(each, correct)
            for name, each in (("before", before), ("after", after))
        }
        lowest = min(each.low for curve in curves.values() for each in curve)
        lowest = min(lowest, *(curve[0].confidence for curve in curves.values()))
        lowest = int(10 * lowest) / 10
        left, bottom = GAP + panel * (SIDE + GAP), GAP + SIDE
        parts += _panel(label, curves, lowest, left, bottom)
    legend = (
        f'<text x="{GAP}" y="{height - 8}">confidence to the right, share of correct slots upwards;'
        " orange: without temperature, blue: with it, and ranges of calibrated ones</text>"
    )
    return "\n".join([*parts, legend, "</svg>"]) + "\n"


def _panel(
    label: str,
    curves: dict[str, list[ReliabilityBin]],
    lowest: float,
    left: float,
    bottom: float,
) -> Iterator[str]:
    def place(value: float) -> float:
        return SIDE * (value - lowest) / (1 - lowest)

    def point(x: float, y: float) -> str:
        return f"{left + place(x):.1f},{bottom - place(y):.1f}"

    yield f'<text class="title" x="{left}" y="{bottom - SIDE - 10}">{label}</text>'
    yield f'<rect class="axis" x="{left}" y="{bottom - SIDE}" width="{SIDE}" height="{SIDE}"/>'
    corners = f"{point(lowest, lowest)} {point(1, 1)}"
    yield f'<polyline class="diagonal" points="{corners}"/>'
    for value in (lowest, (1 + lowest) / 2, 1.0):
        x, y = left + place(value), bottom - place(value)
        yield f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{value:g}</text>'
        yield f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    for name, curve in curves.items():
        points = " ".join(point(each.confidence, each.accuracy) for each in curve)
        yield f'<polyline class="{name}" style="fill: none" points="{points}"/>'
    for each in curves["after"]:
        centre_x, centre_y = point(each.confidence, each.accuracy).split(",")
        bar = f"{point(each.confidence, each.low)} {point(each.confidence, each.high)}"
        yield f'<polyline class="after" points="{bar}"/>'
        yield f'<circle class="after" cx="{centre_x}" cy="{centre_y}" r="2.5"/>'


def replace_block(text: str, name: str, content: str) -> str:
    """Return `text` with the block of this name replaced."""
    pattern = re.compile(rf"(<!-- {name}: [^>]* -->\n).*?(<!-- end -->)", re.DOTALL)
    assert pattern.search(text), f"docs/confidence.md has no block {name}"
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text)


def main() -> None:
    """Train what is missing; write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="epochs of each run; by default the config's")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    if not args.page:
        for name, (_, arguments) in CORPORA.items():
            train(name, arguments, args.epochs)
        for name, intents in LEFT_OUT.items():
            folder = write_without(name, intents)
            train(name, [*CORPORA["snips"][1], f"data.path={folder}"], args.epochs)
    runs = {name: load_run(RUNS / name) for name in (*CORPORA, *LEFT_OUT)}
    measured: dict[str, Measured] = {}
    rows: list[list[str]] = []
    for name, (label, _) in CORPORA.items():
        measured[label] = measure(runs[name])
        rows += calibration_rows(label, runs[name], measured[label])
    head = ["predictions", "number", "correct, %", "temperature", "error, %", "calibrated, %"]
    head += ["by chance, %", "bins in range", "calibrated", "expected"]
    environment = json.loads((RUNS / "atis" / "environment.json").read_text(encoding="utf-8"))
    finished = f"{machine(environment)}; {environment['finished'][:10]}."
    own = {name: test_texts(run) for name, run in runs.items()}
    unfamiliar = [unfamiliar_row("ATIS, with SNIPS", runs["atis"], own["atis"], own["snips"])]
    for name, intents in LEFT_OUT.items():
        splits = ("test", "valid")
        other = [row[0] for split in splits for row in snips_examples(split) if row[2] in intents]
        label = f"SNIPS without {' and '.join(intents)}"
        unfamiliar.append(unfamiliar_row(label, runs[name], own[name], other))
    names = ["`in_domain`", "known words", "P(slots) per token", "P(intent)"]
    text = PAGE.read_text(encoding="utf-8")
    text = replace_block(text, "calibration", f"{table(head, rows)}\n\n{finished}")
    text = replace_block(
        text, "unfamiliar", table(["trained on", "familiar", "unfamiliar", *names], unfamiliar)
    )
    PAGE.write_text(text, encoding="utf-8")
    FIGURE.write_text(draw(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
