"""What commands print: results of training, tables of scores, heat maps."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from slotfill.cli.output import echo
from slotfill.errors import escape, format_count

if TYPE_CHECKING:
    from slotfill.data.indexers import Coverage
    from slotfill.evaluation.likelihood import Likelihood
    from slotfill.evaluation.metrics import EvaluationResult, PRFScore
    from slotfill.evaluation.thresholds import ThresholdScores
    from slotfill.lab.inspect.heat_map import Colors
    from slotfill.lab.inspect.inspection import Inspection
    from slotfill.runs.continuation import Continuation
    from slotfill.runs.threshold import Thresholds
    from slotfill.runs.train import TrainResult
    from slotfill.training.progress import EpochMetrics


class PlainConsole(Console):
    """A console that prints text literally, without markup, highlighting or emoji codes."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Let the command line handle it; rich would exit with code 1."""
        raise BrokenPipeError


def format_duration(seconds: float) -> str:
    """Return seconds as `1 h 02 min`, `3 min 05 s` or `12 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def format_intent_accuracy(epoch: EpochMetrics) -> str:
    """Return the end of a line on an epoch: its intent accuracy, if intents are learned."""
    return "" if epoch.valid_intents is None else f", intents {epoch.valid_intents:.2f}%"


def format_valid_f1(epoch: EpochMetrics) -> str:
    """Return the part of a line on an epoch that is its valid F1, if there are valid sentences."""
    return "" if epoch.valid_f1 is None else f", valid F1 {epoch.valid_f1:.2f}"


def format_perplexity(epoch: EpochMetrics) -> str:
    """Return the end of a line on an epoch of a generator: its valid perplexity."""
    if epoch.valid_perplexity is None:
        return ""
    return f", valid perplexity {epoch.valid_perplexity:.2f}"


def print_coverage(coverage: Coverage, *, is_default: bool) -> None:
    """Print which share of words and tokens each file of pretrained vectors covers.

    `is_default` is whether the config leaves it to slotfill which vectors are used.
    """
    if is_default:
        from slotfill.config.models import DEFAULT_EMBEDDING

        (splits,) = coverage.values()
        share = splits["train"]["types"]["exact"]
        parts = ", ".join(DEFAULT_EMBEDDING)
        echo(
            f"static word vectors added, which have {share:.0%} of the training words and compose"
            f" the rest; without: embedding=[{parts}]"
        )
        return
    labels = {
        "exact": "as written",
        "lowercase": "in lower case",
        "composed": "from subwords",
        "unknown": "unknown",
    }
    for file, splits in coverage.items():
        echo(f"{Path(file).name}: {format_count(splits['kept'], 'word')} kept")
        for split, counts in splits.items():
            if split == "kept":
                continue
            shares = [
                f"{label} {counts['types'][match]:.1%} ({counts['tokens'][match]:.1%})"
                for match, label in labels.items()
                if counts["types"][match]
            ]
            echo(f"  {split}: share of words (of tokens) {', '.join(shares)}")


def print_result(result: TrainResult) -> None:
    """Print the scores of a finished training and the commands to run next."""
    selected = "best" if result.valid_ranks_epochs else "last"
    if result.interrupted:
        echo(f"Stopped; the {selected} epoch so far is kept.")
    for split, likelihood in (result.likelihoods or {}).items():
        print_likelihood(likelihood, split)
    if result.scores:
        split = list(result.scores)[-1]
        if result.continuation:
            _print_continuation(result.scores[split], split, result.continuation)
        else:
            print_scores(result.scores[split], split)
    elif not result.likelihoods:
        echo("There are no valid and no test sentences, so the run has no scores.")
    valid = result.scores.get("valid")
    if result.continuation:
        echo(_describe_continuation(result.continuation))
    echo(
        f"{selected.capitalize()} epoch {result.best.epoch}{format_valid_f1(result.best)}"
        f"{format_intent_accuracy(result.best)}{format_perplexity(result.best)};"
        f" {result.parameters:,} parameters; trained in {format_duration(result.seconds)}."
    )
    if result.predicted:
        confidences = [each.confidence.reading for each in result.predicted if each.confidence]
        mean = sum(confidences) / len(confidences)
        texts = format_count(len(result.predicted), "sentence")
        echo(f"The last round added {texts} of train.text, with a mean confidence of {mean:.0%}.")
    if valid and not result.valid_ranks_epochs and not result.continuation:
        low, high = valid.f1_interval
        slots = format_count(valid.overall.support, "slot")
        echo(f"Valid has only {slots}: the 95% interval of its F1 is {low:.2f} to {high:.2f}.")
    if valid and valid.overall.support > valid.unknown_slots and not result.best.valid_f1:
        echo("No slot of valid was predicted yet: train more epochs, or on more sentences.")
    if result.not_calibrated:
        echo(f"Confidences are not calibrated: {result.not_calibrated}.")
    if result.not_exported:
        echo(f"Prediction needs torch: {result.not_exported}.")
    echo(f"The run is in {result.path}. Next:")
    path = shlex.quote(str(result.path))
    commands = [f"train --resume {path}"] if result.interrupted else []
    commands += [f"evaluate {path}"] if result.scores or result.likelihoods else []
    use = f"predict {path} {shlex.quote(result.example)}"
    if result.likelihoods is not None:
        use = f"generate {path} --sentences 100"
    for command in (*commands, use):
        PlainConsole().print(escape(f"  slotfill {command}"), soft_wrap=True, style="bold")


def _print_continuation(result: EvaluationResult, split: str, continuation: Continuation) -> None:
    """Print the scores of a split, with F1 before training continued."""
    comparison, new_slots = continuation.comparisons[split], continuation.new_slots
    before = comparison.before
    f1 = {name: score.f1 for name, score in before.slots.items() if name not in new_slots}
    print_scores(result, split, {**f1, "": before.overall.f1})
    echo("old slots: F1 {:.2f} -> {:.2f}".format(*comparison.old_f1))
    if new_slots:
        score = f"F1 {comparison.new_f1:.2f}" if comparison.new_f1 is not None else ""
        score = score or f"no sentence of {split} has them, so they have no score"
        echo(f"new slots{_abbreviate(new_slots)}: {score}")


def _describe_continuation(continuation: Continuation) -> str:
    """Return a line on what training has continued, and on which sentences."""
    mixed, total = continuation.earlier_sentences, continuation.of_earlier
    own = f"{mixed:,} of its own, {mixed / total:.0%} of them" if total else "none of its own"
    new = format_count(continuation.new_sentences, "new sentence")
    return f"continued {continuation.run} with {new} and {own}"


def print_thresholds(result: Thresholds) -> None:
    """Print the scores at the threshold that was found and at others, of single slots, and all."""

    def cells(row: ThresholdScores) -> list[str]:
        shares = [f"{100 * share:.2f}" for share in row[1:]]
        if not row.coverage:
            shares[0] = "-"
        return [f"{row.threshold:.4f}", *shares]

    headings = ("threshold", "precision", "recall", "coverage")
    counts = format_count(result.sentences, "sentence"), format_count(result.predicted, result.kind)
    table = make_table("valid: {}, {} predicted".format(*counts), headings, [])
    calibration = result.calibration
    chosen = calibration.intent_threshold if result.kind == "intent" else calibration.threshold
    for row in result.general:
        style = "bold" if row.threshold == chosen else ""
        table.add_row(*cells(row), style=style)
    console = PlainConsole()
    console.print(table)
    if result.by_slot:
        rows = [(name, *cells(row)) for name, row in result.by_slot.items()]
        console.print(make_table("", ("slot", *headings), rows))
    before, after = result.score_before, result.score
    echo(
        f"all {result.kind}s: precision {before.precision:.2f} -> {after.precision:.2f}, recall"
        f" {before.recall:.2f} -> {after.recall:.2f}, F1 {before.f1:.2f} -> {after.f1:.2f}"
    )


def print_times(times: dict[str, float]) -> None:
    """Print where the seconds of a training were spent, the most first."""
    total = sum(times.values())
    rows = [
        (name, f"{seconds:.2f}", f"{seconds / total:.1%}")
        for name, seconds in sorted(times.items(), key=lambda item: -item[1])
    ]
    PlainConsole().print(make_table("", ("where the time went", "seconds", "share"), rows))


def print_likelihood(result: Likelihood, name: str) -> None:
    """Print the perplexity and the ELBO of a generator on the sentences called `name`."""
    counts = format_count(result.sentences, "sentence"), format_count(result.symbols, "symbol")
    kl = f", of which the KL takes {result.kl:.2f}" if result.kl else ""
    measure = "ELBO" if result.kl else "log-likelihood"
    echo(
        f"{name}: {', '.join(counts)}: perplexity {result.perplexity:.2f}, {measure}"
        f" {result.elbo:.2f} nats a sentence{kl}"
    )


def print_scores(
    result: EvaluationResult, name: str, before: Mapping[str, float] | None = None
) -> None:
    """Print the scores on the sentences called `name`: a table of slots, and one of intents.

    `before` is an earlier F1 by slot, with an empty name for all, to be shown beside.
    """
    console = PlainConsole()
    title = f"{name}: {format_count(result.sentences, 'sentence')}"
    title += f", {format_count(result.tokens, 'token')}"
    console.print(_score_table("slot", result.slots, result.overall, title, before))
    low, high = result.f1_interval
    interval = f"95% interval {low:.2f} to {high:.2f}, over sentences"
    lines = [
        f"F1 {result.overall.f1:.2f}, {interval}",
        f"macro F1 {result.macro_f1:.2f} (mean over the names of gold slots)",
        f"tag accuracy {result.tag_accuracy:.2f}%, sentence accuracy"
        f" {result.sentence_accuracy:.2f}%",
    ]
    if not result.overall.support and not any(result.errors.values()):
        lines[:1] = ["F1 -: no slot is labelled or predicted where labels are known"]
    errors = ", ".join(f"{count:,} {error}" for error, count in result.errors.items() if count)
    lines.append(f"errors: {errors or 'none'}")
    calibrations = [("slots", result.calibration)]
    unknown = f"{format_count(result.unknown_words, 'token')}, "
    unknown += format_count(result.unknown_slots, "slot name") + _abbreviate(result.unknown_names)
    modes = [f"scoring of slots: {result.mode}"]
    left_out = [format_count(result.left_out, "slot")] if result.left_out else []
    if intent := result.intent:
        console.print(_score_table("intent", intent.intents, intent.overall))
        lines.append(
            f"intent accuracy {intent.accuracy:.2f}%, frame accuracy {intent.frame_accuracy:.2f}%"
        )
        unknown += f", {format_count(intent.unknown_intents, 'intent')}"
        unknown += _abbreviate(intent.unknown_names)
        calibrations.append(("intents", intent.calibration))
        modes.append(f"scoring of intents: {intent.mode}")
        left_out += [format_count(intent.left_out, "intent")] if intent.left_out else []
    if left_out:
        lines.append(f"left out below their threshold: {', '.join(left_out)}")
    for kind, error in calibrations:
        if error:
            chance = f"{error.error_by_chance:.2f}% by chance"
            details = f", without temperature {error.error_before:.2f}% ({chance})"
            if error.error == error.error_before:
                details = f" (not calibrated; {chance})"
            lines.append(f"calibration error of {kind} {error.error:.2f}%{details}")
    for line in (*lines, f"not in the training sentences: {unknown}", *modes):
        echo(line)


def _score_table(
    kind: str,
    scores: Mapping[str, PRFScore],
    overall: PRFScore,
    title: str = "",
    before: Mapping[str, float] | None = None,
) -> Table:
    total_name = f"all {kind}s"
    if total_name in scores:
        total_name = f"total ({total_name})"
    *rows, total = [
        [name, f"{s.precision:.2f}", f"{s.recall:.2f}", f"{s.f1:.2f}", f"{s.support:,}"]
        for name, s in [*scores.items(), (total_name, overall)]
    ]
    headings = [kind, "precision", "recall", "F1", f"gold {kind}s"]
    if before is not None:
        headings.insert(3, "F1 before")
        for name, row in zip((*scores, ""), (*rows, total), strict=True):
            row.insert(3, f"{before[name]:.2f}" if name in before else "-")
    table = make_table(title, headings, rows)
    table.add_section()
    table.add_row(*total, style="bold")
    return table


def _abbreviate(names: Sequence[str]) -> str:
    """Return the first five of `names` in parentheses, or nothing if there are none."""
    shown = [*names[:5], "..."] if len(names) > 5 else names
    return f" ({', '.join(shown)})" if names else ""


def print_parts(tables: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
    """Print for each kind of part a table of names, summaries and sources."""
    for kind, rows in tables.items():
        columns = 3 if any(source for _, _, source in rows) else 2
        headings = ("name", "description", "source")[:columns]
        table = make_table(kind, headings, [row[:columns] for row in rows], numeric=False)
        PlainConsole().print(table)


def print_tables(
    tables: Iterable[tuple[str, list[list[str]]]], lines: Sequence[str], *, divide: bool = True
) -> None:
    """Print tables, each a title and columns, and then `lines`.

    The first cell of a column is its heading. A table that is wider than the terminal is divided,
    and each part repeats the first column, which names the rows; without `divide`, the text in its
    cells is wrapped.
    """
    console = PlainConsole()
    unlimited = console.options.update_width(10_000)
    for title, (names, *columns) in tables:
        parts: list[list[list[str]]] = [[]]
        for column in columns:
            widened = _column_table("", [names, *parts[-1], column])
            if (
                divide
                and parts[-1]
                and console.measure(widened, options=unlimited).maximum > console.width
            ):
                parts.append([])
            parts[-1].append(column)
        for index, part in enumerate(parts):
            console.print(_column_table("" if index else title, [names, *part]))
    for line in lines:
        echo(line)


def _column_table(title: str, columns: Sequence[Sequence[str]]) -> Table:
    headings, *rows = zip(*columns, strict=True)
    return make_table(title, headings, rows)


def make_table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: bool = True
) -> Table:
    """Return a table of escaped cells; if `numeric`, columns after the first align right."""
    table = Table(title=escape(title) or None, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(escape(heading), justify="right" if numeric and index else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def print_heat_maps(inspection: Inspection) -> None:
    """Print the heat maps, in colour if standard output is a terminal with at least 256 colours."""
    from slotfill.lab.inspect.heat_map import render_lines

    console = PlainConsole()
    systems: dict[str | None, Colors] = {"truecolor": "truecolor", "256": "256"}
    colors: Colors = "" if console.no_color else systems.get(console.color_system, "")
    for line in render_lines(inspection, console.width, colors=colors):
        console.print(line, soft_wrap=True)
