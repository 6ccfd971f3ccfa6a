"""Progress of long commands: a bar on a terminal, one line per step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as ProgressBar

from slotfill.cli.display import (
    PlainConsole,
    format_duration,
    format_intent_accuracy,
    format_perplexity,
    format_valid_f1,
)
from slotfill.cli.output import echo
from slotfill.errors import escape

if TYPE_CHECKING:
    from slotfill.training.progress import EpochMetrics, Progress

_HEADER = f"{'epoch':>5} {'loss':>10} {'valid F1':>9} {'tokens/s':>11} {'time':>12}"


class _Bar(ProgressBar):
    """A progress bar below the printed lines of a terminal."""

    def __init__(
        self, console: PlainConsole, description: str = "Reading the sentences ..."
    ) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[details]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=8,
        )
        self._task = self.add_task(description, total=1.0, details="")

    def show(self, description: str, fraction: float, details: str) -> None:
        """Show a description, a fraction of 1 as a bar, and details."""
        text = escape(description)
        is_new = text != self.tasks[0].description
        self.update(
            self._task, description=text, completed=fraction, details=details, refresh=is_new
        )

    def show_epoch(self, progress: Progress, prefix: str = "") -> None:
        """Show the progress within an epoch."""
        self.show(
            f"{prefix}epoch {progress.epoch} of at most {progress.epochs}",
            progress.done / progress.steps,
            f"loss {progress.loss:.4f}  at most {format_duration(progress.seconds_left)} left",
        )


@contextmanager
def training_progress() -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows the progress of training and a line for each epoch.

    Without a terminal, only some of many short epochs have a line.
    """
    console = PlainConsole()
    if not console.is_terminal:
        with _epoch_log() as log:
            yield log
        return
    heading = [("Ctrl-C: stop, keep the best epoch", "dim"), (_HEADER, "bold")]
    with _Bar(console) as bar:

        def report(progress: Progress) -> None:
            while heading:
                text, style = heading.pop(0)
                console.print(text, style=style)
            bar.show_epoch(progress)
            if _is_epoch_end(progress):
                row = progress.history[-1]
                style = "bold green" if row is progress.best else ""
                console.print(_table_line(row, style != ""), style=style, soft_wrap=True)

        yield report


@contextmanager
def _epoch_log() -> Iterator[Callable[[Progress], None]]:
    """Yield a function that prints the first and last epoch, and one per second or 5% of epochs."""
    logged_at = -1.0
    skipped = ""

    def log(progress: Progress) -> None:
        nonlocal logged_at, skipped
        if not _is_epoch_end(progress):
            return
        skipped = _log_line(progress)
        now = time.monotonic()
        is_twentieth = progress.epoch % max(1, progress.epochs // 20) == 0
        if logged_at < 0 or is_twentieth or now - logged_at >= 1:
            echo(skipped)
            logged_at, skipped = now, ""

    yield log
    if skipped:
        echo(skipped)


@contextmanager
def tuning_progress(*, stderr: bool = False) -> Iterator[Callable[[str, Progress | None], None]]:
    """Yield a function that prints a line, or shows the progress of the training it names."""
    console = PlainConsole(stderr=stderr)
    if not console.is_terminal:
        yield lambda line, progress: None if progress else echo(line, err=stderr)
        return
    with _Bar(console) as bar:
        console.print("Ctrl-C: stop, keep the finished trials", style="dim")

        def report(line: str, progress: Progress | None) -> None:
            if progress is None:
                console.print(escape(line), soft_wrap=True)
            else:
                bar.show_epoch(progress, f"{line}, ")

        yield report


@contextmanager
def probe_progress() -> Iterator[Callable[[str, float], None]]:
    """Yield a function that shows the current step and the fraction of all work that is done."""
    console = PlainConsole(stderr=True)
    start = time.monotonic()
    if not console.is_terminal:
        printed: set[str] = set()

        def log(step: str, fraction: float) -> None:
            if step not in printed:
                printed.add(step)
                echo(f"{step} ({fraction:.0%} done)", err=True)

        yield log
        return
    with _Bar(console, "Preparing ...") as bar:

        def report(step: str, fraction: float) -> None:
            elapsed = time.monotonic() - start
            left = f"about {format_duration(elapsed / fraction - elapsed)} left" if fraction else ""
            bar.show(step, fraction, left)

        yield report


def _is_epoch_end(progress: Progress) -> bool:
    """Return whether this report is the one after the evaluation of an epoch."""
    return bool(progress.history) and progress.history[-1].epoch == progress.epoch


def _table_line(row: EpochMetrics, best: bool) -> str:
    f1 = "" if row.valid_f1 is None else f"{row.valid_f1:.2f}"
    return (
        f"{row.epoch:5} {row.loss:10.4f} {f1:>9} {row.tokens_per_second:11,.0f} "
        f"{format_duration(row.seconds):>12}{'  best so far' if best else ''}"
        f"{format_intent_accuracy(row)}{format_perplexity(row)}"
    )


def _log_line(progress: Progress) -> str:
    row = progress.history[-1]
    best = " (best)" if row is progress.best else ""
    return (
        f"epoch {row.epoch}/{progress.epochs}: loss {row.loss:.4f}{format_valid_f1(row)}"
        f"{format_perplexity(row)}"
        f"{best}{format_intent_accuracy(row)}, {row.tokens_per_second:,.0f} tokens/s, at most"
        f" {format_duration(progress.seconds_left)} left"
    )
