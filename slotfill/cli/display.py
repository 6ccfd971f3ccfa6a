"""What a person sees: live progress, tables of scores, slots marked in a sentence."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from slotfill.data.indexers import Coverage
    from slotfill.data.sentence import Sentence
    from slotfill.evaluation.metrics import EvaluationResult, PRFScore
    from slotfill.lab.inspect.heat_map import Coloured
    from slotfill.lab.inspect.inspection import Inspection
    from slotfill.runs.train import Outcome
    from slotfill.training.trainer import Epoch, Progress

COLOURS = (
    "cyan",
    "magenta",
    "green",
    "yellow",
    "blue",
    "red",
    "bright_cyan",
    "bright_magenta",
    "bright_green",
)


class PlainConsole(Console):
    """A console that shows text as it is: what is in brackets is no markup."""

    def __init__(self, file: TextIO | None = None) -> None:
        super().__init__(file=file, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        # The command line ends at this as it does elsewhere; rich would end the process itself.
        raise BrokenPipeError


_HEAD = f"{'epoch':>5} {'loss':>10} {'valid F1':>9} {'tokens/s':>11} {'time':>12}"


@contextmanager
def training(file: TextIO) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows each Progress: live on a terminal, a line an epoch elsewhere."""
    console = PlainConsole(file)
    if not console.is_terminal:
        yield lambda progress: _log_line(progress, file)
        return
    waiting = Text("Reading the sentences ...")
    with Live(waiting, console=console, refresh_per_second=8, transient=True) as live:
        shown = 0.0

        def report(progress: Progress) -> None:
            nonlocal shown
            if not shown:
                live.console.print(_HEAD, style="bold")
            if _scored(progress):
                live.console.print(_epoch_row(progress), soft_wrap=True)
            now = time.monotonic()
            # Drawing takes a millisecond, a step a few: one drawing for many steps.
            if now - shown > 0.1:
                shown = now
                live.update(_status(progress))

        yield report


def _scored(progress: Progress) -> bool:
    """Whether this is the report of an epoch that has been scored."""
    return bool(progress.history) and progress.history[-1].epoch == progress.epoch


def _log_line(progress: Progress, file: TextIO) -> None:
    if _scored(progress):
        row = progress.history[-1]
        best = " (best)" if progress.best is row else ""
        print(
            f"epoch {row.epoch}/{progress.epochs}: loss {row.loss:.4f}, valid F1"
            f" {row.valid_f1:.2f}{best}{_intents(row)}, {row.tokens_per_second:,.0f} tokens/s, at"
            f" most {duration(progress.seconds_left)} left",
            file=file,
            flush=True,
        )


def _epoch_row(progress: Progress) -> Text:
    row = progress.history[-1]
    best = progress.best is row
    return Text(
        f"{row.epoch:5} {row.loss:10.4f} {row.valid_f1:9.2f} {row.tokens_per_second:11,.0f} "
        f"{duration(row.seconds):>12}{'  best so far' if best else ''}{_intents(row)}",
        style="bold green" if best else "",
    )


def _intents(row: Epoch) -> str:
    return "" if row.valid_intents is None else f", intents {row.valid_intents:.2f}%"


def _bar(progress: Progress, *before: str) -> Table:
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        *before,
        f"epoch {progress.epoch} of at most {progress.epochs}",
        ProgressBar(total=progress.steps, completed=progress.done, width=20),
        f"loss {progress.loss:.4f}",
        f"{progress.tokens_per_second:,.0f} tokens/s",
    )
    return bar


def _status(progress: Progress) -> Group:
    best = f"best valid F1 {progress.best.valid_f1:.2f}  " if progress.best else ""
    left = f"{best}at most {duration(progress.seconds_left)} left  Ctrl-C: stop, keep the best"
    return Group(_bar(progress), Text(left, no_wrap=True, overflow="ellipsis"))


def duration(seconds: float) -> str:
    """Return seconds as `1 h 02 min`, `3 min 05 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def tuning(file: TextIO) -> Iterator[Callable[[str, Progress | None], None]]:
    """Give a function that prints a line, or shows, live on a terminal, how far what the line names
    has come.
    """
    console = PlainConsole(file)
    if not console.is_terminal:
        yield lambda line, progress: None if progress else print(line, file=file, flush=True)
        return
    with Live(
        Text("Reading the sentences ..."), console=console, refresh_per_second=8, transient=True
    ) as live:
        shown = 0.0

        def report(line: str, progress: Progress | None) -> None:
            nonlocal shown
            now = time.monotonic()
            if progress is None:
                live.console.print(line, soft_wrap=True)
            elif now - shown > 0.1:
                shown = now
                live.update(
                    Group(
                        _bar(progress, line), Text("Ctrl-C: stop, keep the trials that have ended")
                    )
                )

        yield report


@contextmanager
def working(file: TextIO) -> Iterator[Callable[[str, float], None]]:
    """Give a function that shows what is being done, and which share of all is done: live, or a
    line for each what.
    """
    console = PlainConsole(file)
    began = shown = time.monotonic()
    if not console.is_terminal:
        lines: set[str] = set()

        def write(what: str, share: float) -> None:
            if what not in lines:
                lines.add(what)
                print(f"{what} ({share:.0%} of all is done)", file=file, flush=True)

        yield write
        return
    with Live(Text("Preparing ..."), console=console, refresh_per_second=8, transient=True) as live:

        def report(what: str, share: float) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown > 0.1 and share:
                shown = now
                row = Table.grid(padding=(0, 2))
                left = f"about {duration((now - began) * (1 - share) / share)} left"
                row.add_row(ProgressBar(total=1, completed=share, width=20), what, left)
                live.update(row)

        yield report


def show_coverage(coverage: Coverage) -> None:
    """Print for each file of vectors which shares of the words and the tokens it knows, and how."""
    said = {
        "exact": "as written",
        "lowercase": "in lower case",
        "composed": "from subwords",
        "unknown": "unknown",
    }
    for file, row in coverage.items():
        print(f"{Path(file).name}: {row['kept']:,} words kept", flush=True)
        for split in (key for key in row if key != "kept"):
            words, tokens = row[split]["types"], row[split]["tokens"]
            shares = [
                f"{text} {words[how]:.1%} ({tokens[how]:.1%})"
                for how, text in said.items()
                if words[how]
            ]
            print(f"  {split}: share of words (of tokens) {', '.join(shares)}", flush=True)


def show_outcome(outcome: Outcome) -> None:
    """Print the scores of a run and the commands to go on with."""
    console = PlainConsole()
    last = list(outcome.scores)[-1]
    if outcome.interrupted:
        console.print("Stopped; the best epoch so far is kept.")
    show_score(outcome.scores[last], last, console)
    console.print(
        f"Best epoch {outcome.best.epoch}, valid F1"
        f" {outcome.best.valid_f1:.2f}{_intents(outcome.best)}; {outcome.parameters:,} parameters;"
        f" trained in {duration(outcome.seconds)}.",
        soft_wrap=True,
    )
    valid = outcome.scores["valid"]
    if valid.overall.support and not outcome.best.valid_f1:
        console.print(
            "No slot of valid was found: nothing has been learned yet. More epochs may help, or"
            " more sentences."
        )
    if outcome.not_exported:
        console.print(f"Prediction needs torch: {outcome.not_exported}.", soft_wrap=True)
    console.print(f"The run is in {outcome.path}. Next:", soft_wrap=True)
    path = shlex.quote(str(outcome.path))
    go_on = [f"train --resume {path}"] if outcome.interrupted else []
    for command in (*go_on, f"evaluate {path}", f"predict {path} {shlex.quote(outcome.example)}"):
        console.print(f"  slotfill {command}", soft_wrap=True, style="bold")


def show_times(times: dict[str, float]) -> None:
    """Print where the seconds of a training went, the most first."""
    whole = sum(times.values())
    table = Table("where the time went", "seconds", "share", title_justify="left")
    for what, seconds in sorted(times.items(), key=lambda item: -item[1]):
        table.add_row(what, f"{seconds:.2f}", f"{seconds / whole:.1%}")
    PlainConsole().print(table)


def show_score(score: EvaluationResult, name: str, console: Console | None = None) -> None:
    """Print a score as a table: a row a slot, then the whole, then what was unknown; a table more
    for intents.
    """
    console = console or PlainConsole()
    title = f"{name}: {score.sentences:,} sentences, {score.tokens:,} tokens"
    console.print(_rates("slot", score.slots, score.overall, title))
    low, high = score.f1_interval
    found = [
        (
            f"F1 {score.overall.f1:.2f}, 95% interval {low:.2f} to {high:.2f} (bootstrap over"
            " sentences)"
        ),
        (
            f"tags right {score.tag_accuracy:.2f}%, sentences wholly right"
            f" {score.sentence_accuracy:.2f}%"
        ),
    ]
    unknown = f"{score.unknown_slots:,} slots by name{_some(score.unknown_names)}"
    if score.intent is not None:
        console.print(_rates("intent", score.intent.intents, score.intent.overall))
        found.append(
            f"intents right {score.intent.accuracy:.2f}%, whole frames"
            f" {score.intent.frame_accuracy:.2f}%"
        )
        unknown += f", {score.intent.unknown_intents:,} intents{_some(score.intent.unknown_names)}"
    found += [
        f"never seen in training: {score.unknown_words:,} tokens, {unknown}",
        f"counted as {score.mode}",
    ]
    if score.intent is not None:
        found.append(f"intents counted as {score.intent.mode}")
    for line in found:
        console.print(line, soft_wrap=True)


def _rates(
    what: str, rows: Mapping[str, PRFScore], overall: PRFScore, title: str | None = None
) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(what)
    for column in ("precision", "recall", "F1", f"gold {what}s"):
        table.add_column(column, justify="right")
    for name, row in [*rows.items(), (f"all {what}s", overall)]:
        if row is overall:
            table.add_section()
        table.add_row(
            name, f"{row.precision:.2f}", f"{row.recall:.2f}", f"{row.f1:.2f}", f"{row.support:,}",
            style="bold" if row is overall else "",
        )  # fmt: skip
    return table


def _some(names: Sequence[str]) -> str:
    """Return the first few of `names` in brackets, or nothing where there are none."""
    return f" ({', '.join([*names[:5], *['...'][: len(names) > 5]])})" if names else ""


def show_parts(tables: dict[str, list[tuple[str, str, str]]]) -> None:
    """Print for each kind of part a table of names, summaries and sources."""
    console = PlainConsole()
    for kind, rows in tables.items():
        columns = 3 if any(source for _, _, source in rows) else 2
        table = Table(*("name", "what it is", "source")[:columns], title=kind, title_justify="left")
        for row in rows:
            table.add_row(*row[:columns])
        console.print(table)


def show_columns(tables: Sequence[tuple[str, list[list[str]]]], lines: Sequence[str]) -> None:
    """Print tables given by title and columns, each cut into as many as the width asks for, and
    then `lines`.

    A column is its heading and a cell for each row; the first names the rows and is repeated.
    """
    console = PlainConsole()
    wide = console.options.update_width(10_000)
    for title, (names, *columns) in tables:
        parts: list[list[list[str]]] = [[]]
        for column in columns:
            if (
                parts[-1]
                and console.measure(_by_columns([names, *parts[-1], column]), options=wide).maximum
                > console.width
            ):
                parts.append([])
            parts[-1].append(column)
        for number, part in enumerate(parts):
            console.print(_by_columns([names, *part], "" if number else title))
    for line in lines:
        console.print(line, soft_wrap=True)


def _by_columns(columns: list[list[str]], title: str = "") -> Table:
    table = Table(title=title or None, title_justify="left")
    for index, (heading, *_) in enumerate(columns):
        table.add_column(heading, justify="right" if index else "left")
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*row)
    return table


def marked(sentence: Sentence, names: list[str]) -> Text:
    """Return the sentence's text with its intent before it, and each slot in its colour and its
    name behind it.
    """
    text = Text().append(f"{sentence.intent}: " if sentence.intent else "", style="dim")
    done = 0
    for slot in sentence.slots or ():
        start, end = sentence.span(slot)
        text.append(sentence.text[done:start])
        colour = COLOURS[names.index(slot.name) % len(COLOURS)] if slot.name in names else "white"
        text.append(sentence.text[start:end], style=f"bold {colour} underline")
        text.append(f" {slot.name}", style=f"dim {colour}")
        done = end
    return text.append(sentence.text[done:])


def write_marked(sentences: Iterable[Sentence], names: list[str]) -> None:
    """Print tagged sentences in colours."""
    console = PlainConsole()
    for sentence in sentences:
        console.print(marked(sentence, names), soft_wrap=True)


def show_heat_maps(inspection: Inspection) -> None:
    """Print the heat maps, in colour if standard output is a terminal with at least 256 colours."""
    from slotfill.lab.inspect.heat_map import lines

    console = PlainConsole()
    systems: dict[str | None, Coloured] = {"truecolor": "truecolor", "256": "256"}
    coloured = "" if console.no_color else systems.get(console.color_system, "")
    for line in lines(inspection, console.width, coloured=coloured):
        console.print(line, soft_wrap=True)
