"""The report on an evaluation as one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, NamedTuple

from slotfill.data.sentence import Slot
from slotfill.evaluation.calibration import ReliabilityBin
from slotfill.evaluation.errors import ErrorAnalysis, WrongSentence
from slotfill.evaluation.metrics import EvaluationResult
from slotfill.files import real_path
from slotfill.lab.html import render_template
from slotfill.lab.report.plots import HEIGHT, WIDTH, LinePlot, line_plot
from slotfill.runs.load import Run, read_history
from slotfill.runs.manifest import HISTORY

MAX_SENTENCES = 2000
"""Wrong sentences on a page; a browser is slow with more."""

MAX_CONFUSED = 25
"""Slot names in the confusion matrix: those that are confused most."""

SCHEMES = {
    "strict": "name and boundaries are correct",
    "exact": "boundaries are correct, under any name",
    "type": "name is correct, and the slots overlap",
    "partial": "slots overlap, under any name; half a point if the boundaries are wrong",
}

ERRORS = {
    "type": "right boundaries, wrong name",
    "boundary": "right name, wrong boundaries",
    "both": "overlap, but neither name nor boundaries are right",
    "missed": "no predicted slot where a slot is",
    "spurious": "a predicted slot where none is",
}


def render_page(run: Run, split: str, result: EvaluationResult, analysis: ErrorAnalysis) -> str:
    """Return the page on the evaluation of `run` on the sentences called `split`."""
    names = sorted(set(analysis.slots) | set(analysis.types))
    return render_template(
        "report/page.html.jinja",
        run=real_path(run.files.path).name,
        split=split,
        result=result,
        analysis=analysis,
        names=names,
        training=analysis.training,
        schemes=SCHEMES,
        errors=ERRORS,
        error_counts=sum(analysis.types.values(), Counter[str]()),
        confusions=list_confusions(analysis),
        matrix=confusion_matrix(analysis.confusion),
        curves=training_curves(run),
        reliability=reliability_plot(analysis.reliability),
        sentences=list(map(render_sentence, analysis.wrong[:MAX_SENTENCES])),
        plot_size=(WIDTH, HEIGHT),
    )


def list_confusions(analysis: ErrorAnalysis) -> dict[str, list[tuple[tuple[str, str, str], int]]]:
    """Return how often which slots and intents are confused, the most frequent confusions first.

    A confusion is `slot` or `intent`, the gold and the predicted name; the name of none is empty.
    """
    slots, intents = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    for (gold, predicted), count in analysis.confusion.items():
        if gold != predicted:
            slots["slot", gold, predicted] = count
    for wrong in analysis.wrong:
        if wrong.wrong_intent:
            intents["intent", wrong.sentence.intent or "", wrong.intent or ""] += 1
    return {"slots": slots.most_common(), "intents": intents.most_common()}


def training_curves(run: Run) -> list[LinePlot]:
    """Return plots over the epochs of training: of the loss, and of the scores on valid."""
    if not run.files.has(HISTORY):
        return []
    rows = read_history(run.files)
    columns = {
        "loss": {"loss": "loss"},
        "percent": {"valid_f1": "F1 on valid", "valid_intents": "intents on valid"},
    }
    plots = []
    for label, names in columns.items():
        lines = {}
        for column, name in names.items():
            points = [(row["epoch"], row[column]) for row in rows if column in row]
            if points:
                lines[name] = points
        if lines:
            plots.append(line_plot("epoch", label, lines))
    return plots


def reliability_plot(curves: Mapping[str, Sequence[ReliabilityBin]]) -> LinePlot | None:
    """Return the plot of the share of correct predictions over their confidence, in percent."""
    if not curves:
        return None
    lines, intervals = {}, {}
    for name, bins in curves.items():
        lines[name] = [(100 * each.confidence, 100 * each.accuracy) for each in bins]
        intervals[name] = [
            (100 * each.confidence, 100 * each.low, 100 * each.high) for each in bins
        ]
    least = min(min(x, low) for x, low, _ in chain.from_iterable(intervals.values()))
    lines["perfectly calibrated"] = [(least, least), (100, 100)]
    return line_plot("confidence, percent", "correct, percent", lines, intervals)


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts of pairs of slots by gold and predicted name; the name of no slot is empty."""

    gold: list[str]
    predicted: list[str]
    counts: Mapping[tuple[str, str], int]
    totals: Mapping[str, int]
    """Pairs by gold name."""
    omitted: int
    """Errors in names that are not shown."""

    def share(self, gold: str, predicted: str) -> float:
        """Return the share of the pairs of a gold name that have this predicted name."""
        return self.counts[gold, predicted] / max(self.totals[gold], 1)


def confusion_matrix(confusion: Counter[tuple[str, str]]) -> ConfusionMatrix:
    """Return the confusions of the names that are confused most, the most confused first."""
    wrong = Counter({pair: count for pair, count in confusion.items() if pair[0] != pair[1]})
    confused = Counter[str]()
    totals = Counter[str]()
    for pair, count in wrong.items():
        confused.update(dict.fromkeys(pair, count))
    for (gold, _), count in confusion.items():
        totals[gold] += count
    del confused[""]
    names = [*(name for name, _ in confused.most_common(MAX_CONFUSED)), ""]
    rows = [name for name in names if any(wrong[name, other] for other in names)]
    columns = [name for name in names if any(wrong[other, name] for other in names)]
    shown = sum(wrong[row, column] for row in rows for column in columns)
    return ConfusionMatrix(rows, columns, confusion, totals, wrong.total() - shown)


class Segment(NamedTuple):
    """Tokens of a sentence with the same gold and predicted slot, or a single token without."""

    text: str
    space: bool
    """Whether a space is before it."""
    gold: str
    """The name of the gold slot, empty where it goes on or there is none."""
    gold_class: str
    predicted: str
    """The name of the predicted slot; empty for none."""
    predicted_class: str


class ErrorRow(NamedTuple):
    """An error of a sentence: its type, the gold and the predicted name, and more."""

    type: str
    gold: str
    predicted: str
    confidence: float | None
    training: str
    """How the same value is labelled in training."""


def render_sentence(wrong: WrongSentence) -> dict[str, Any]:
    """Return what the page shows of a sentence: its segments, and its errors."""
    folder, _, file = wrong.sentence.location.rpartition("/")
    rows = []
    for error in wrong.errors:
        gold, predicted = (slot.name if slot else "" for slot in (error.gold, error.predicted))
        training = ""
        if error.training is not None:
            counts = (f"{name} {count:,}" for name, count in error.training.items())
            training = f"in training: {', '.join(counts) or 'never a slot'}"
        rows.append(ErrorRow(error.type, gold, predicted, error.confidence, training))
    if wrong.wrong_intent:
        gold, predicted = wrong.sentence.intent or "", wrong.intent or ""
        rows.append(ErrorRow("intent", gold, predicted, wrong.confidences.intent, ""))
    return {
        "segments": list(segments(wrong)),
        "errors": rows,
        "keys": [row[:3] for row in rows],
        "confidence": wrong.confidence,
        "location": "/".join(filter(None, (folder.rpartition("/")[2], file))),
    }


def segments(wrong: WrongSentence) -> Iterator[Segment]:
    """Yield the segments of a sentence, each with its part of the gold and predicted slots."""
    sentence = wrong.sentence
    errors = {slot for each in wrong.errors for slot in enumerate((each.gold, each.predicted))}
    gold, predicted = _index_by_token(sentence.slots or []), _index_by_token(wrong.slots)
    # Tokens outside of slots stand alone, so that a line can break between them.
    keys = [
        (gold.get(position), predicted.get(position), None)
        if position in gold or position in predicted
        else (None, None, position)
        for position in range(len(sentence.tokens))
    ]
    end = 0
    for (own, other, _), group in groupby(range(len(keys)), key=keys.__getitem__):
        positions = list(group)
        first, last = positions[0], positions[-1]
        start, stop = sentence.offsets[first][0], sentence.offsets[last][1]
        cells = []
        for side, slot in enumerate((own, other)):
            if slot is None:
                cells += ["", ""]
                continue
            kind = "wrong" if (side, slot) in errors else "right"
            cells += [
                slot.name if slot.start == first else "",
                kind if slot.end == last + 1 else f"{kind} more",
            ]
        space = sentence.text[end:start].isspace()
        yield Segment(sentence.text[start:stop], space, *cells)
        end = stop


def _index_by_token(slots: Sequence[Slot]) -> dict[int, Slot]:
    """Return the slot at each token that is in one."""
    return {token: slot for slot in slots for token in range(slot.start, slot.end)}
