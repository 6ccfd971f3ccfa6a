"""What a person sees: live progress, tables of scores, slots marked in a sentence."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from slotfill.score import Score
    from slotfill.sentence import Sentence
    from slotfill.train import Outcome, Progress

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


@contextmanager
def training(file: TextIO) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows each Progress: a live table on a terminal, a line an epoch elsewhere."""
    console = Console(file=file)
    if not console.is_terminal:
        yield _log_lines(file)
        return
    with Live(console=console, refresh_per_second=8) as live:
        shown = 0.0

        def report(progress: Progress) -> None:
            nonlocal shown
            now = time.monotonic()
            # Drawing takes a millisecond, a step a few: one drawing for many steps.
            if now - shown > 0.1 or progress.done == progress.steps:
                shown = now
                live.update(_progress_table(progress))

        yield report


def _log_lines(file: TextIO) -> Callable[[Progress], None]:
    printed = 0

    def report(progress: Progress) -> None:
        nonlocal printed
        if progress.history and progress.history[-1].epoch == progress.epoch != printed:
            row = progress.history[-1]
            printed = row.epoch
            best = " best" if progress.best is row else ""
            print(
                f"epoch {row.epoch}/{progress.epochs} loss {row.loss:.4f} valid F1 {row.valid_f1:.2f}{best} "
                f"{row.tokens_per_second:.0f} tokens/s {duration(progress.seconds_left)} left",
                file=file,
                flush=True,
            )

    return report


def _progress_table(progress: Progress) -> Group:
    table = Table(box=None, pad_edge=False)
    for column in ("epoch", "loss", "valid F1", "tokens/s"):
        table.add_column(column, justify="right")
    for row in progress.history[-8:]:
        style = "bold green" if progress.best is row else ""
        table.add_row(
            str(row.epoch),
            f"{row.loss:.4f}",
            f"{row.valid_f1:.2f}",
            f"{row.tokens_per_second:,.0f}",
            style=style,
        )
    bar = ProgressBar(total=progress.steps, completed=progress.done, width=24)
    best = f"{progress.best.valid_f1:.2f} (epoch {progress.best.epoch})" if progress.best else "-"
    status = Table.grid(padding=(0, 2))
    status.add_row(
        f"epoch {progress.epoch} of at most {progress.epochs}",
        bar,
        f"loss {progress.loss:.4f}",
        f"{progress.tokens_per_second:,.0f} tokens/s",
    )
    status.add_row(
        f"best valid F1 {best}",
        "",
        f"{duration(progress.seconds_left)} left at most",
        "Ctrl-C: stop and keep the best",
    )
    return Group(table, status)


def duration(seconds: float) -> str:
    """Return seconds as `1 h 02 min`, `3 min 05 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def show_outcome(outcome: Outcome) -> None:
    """Print the scores of a run and the commands to go on with."""
    console = Console(highlight=False)
    last = list(outcome.scores)[-1]
    if outcome.interrupted:
        console.print(f"Stopped; the best so far is kept. Go on later: slotfill train --resume {outcome.path}")
    show_score(outcome.scores[last], last, console)
    console.print(
        f"Best epoch {outcome.best.epoch}, valid F1 {outcome.best.valid_f1:.2f}; {outcome.parameters:,} parameters; "
        f"trained in {duration(outcome.seconds)}."
    )
    console.print(f"The run is in {outcome.path}. Next:")
    path = shlex.quote(str(outcome.path))
    for command in (f"evaluate {path}", f"predict {path} {shlex.quote(outcome.example)}"):
        console.print(f"  slotfill {command}", soft_wrap=True, markup=False, style="bold")


def show_score(score: Score, name: str, console: Console | None = None) -> None:
    """Print a score as a table: a row a slot, then the whole, then what was unknown."""
    console = console or Console(highlight=False)
    table = Table(title=f"{name}: {score.sentences:,} sentences, {score.tokens:,} tokens", title_justify="left")
    table.add_column("slot")
    for column in ("precision", "recall", "F1", "gold slots"):
        table.add_column(column, justify="right")
    for slot, row in [*score.slots.items(), ("all slots", score.overall)]:
        if slot == "all slots":
            table.add_section()
        table.add_row(
            slot, f"{row.precision:.2f}", f"{row.recall:.2f}", f"{row.f1:.2f}", f"{row.support:,}",
            style="bold" if slot == "all slots" else "",
        )  # fmt: skip
    console.print(table)
    low, high = score.f1_interval
    console.print(
        f"F1 {score.overall.f1:.2f}, 95% interval {low:.2f} to {high:.2f} (bootstrap over sentences); {score.mode}"
    )
    console.print(f"tags right {score.tag_accuracy:.2f}%, sentences wholly right {score.sentence_accuracy:.2f}%")
    console.print(f"{score.unknown_words:,} tokens were never seen in training", end="")
    names = f" ({', '.join(score.unknown_names)})" if score.unknown_names else ""
    console.print(f"; {score.unknown_slots:,} gold slots have names the model does not know{names}, each a miss")


def show_parts(tables: dict[str, list[tuple[str, str, str]]]) -> None:
    """Print for each kind of part a table of names, summaries and sources."""
    console = Console(highlight=False)
    for kind, rows in tables.items():
        table = Table("name", "what it is", title=kind, title_justify="left")
        if any(source for _, _, source in rows):
            table.add_column("source")
        for name, summary, source in rows:
            table.add_row(name, summary, *([source] if len(table.columns) == 3 else []))
        console.print(table)


def marked(sentence: Sentence, names: list[str]) -> Text:
    """Return the sentence's text with each slot in its colour and its name behind it."""
    text = Text()
    done = 0
    for slot in sentence.slots or ():
        start, end = sentence.span(slot)
        text.append(sentence.text[done:start])
        colour = COLOURS[names.index(slot.name) % len(COLOURS)] if slot.name in names else "white"
        text.append(sentence.text[start:end], style=f"bold {colour} underline")
        text.append(f" {slot.name}", style=f"dim {colour}")
        done = end
    return text.append(sentence.text[done:])


def sentence_writer(format: str, scheme: str, names: list[str]) -> Callable[[Sentence], None]:
    """Return the function that writes one tagged sentence to standard output, at once."""
    if format == "text":
        console = Console(highlight=False)
        return lambda sentence: console.print(marked(sentence, names), soft_wrap=True)
    from slotfill.registry import FORMATS

    part = FORMATS.build(format)

    def write(sentence: Sentence) -> None:
        sys.stdout.write(part.render(sentence, scheme=scheme))
        sys.stdout.flush()

    return write
