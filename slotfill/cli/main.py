"""The command line: commands parse options, call plain functions of the package, and print.

Heavy modules are imported when a command needs them, so that `--help` is fast.
"""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import logging
import os
import signal
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from slotfill.cli import (
    compare,
    configs,
    data,
    distil,
    networks,
    package,
    predict,
    runs,
    serve,
    tune,
)
from slotfill.cli.app import CommandGroup
from slotfill.cli.labelling.command import label
from slotfill.cli.output import LogHandler, echo, echo_errors
from slotfill.version import __version__


def _print_version(requested: bool) -> None:
    if requested:
        echo(f"slotfill {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


app = typer.Typer(
    name="slotfill",
    cls=CommandGroup,
    callback=_options,
    help="A command-line toolkit for slot filling with recurrent sequence taggers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(runs.train)
app.command()(distil.distil)
app.command()(label)
app.command()(runs.evaluate)
app.command()(predict.predict)
app.command()(runs.generate)
app.command()(runs.threshold)
app.command()(runs.values)
app.command()(package.export)
app.command()(package.pack)
app.command()(package.card)
app.command()(package.push)
app.command()(serve.serve)
app.command("list")(configs.list_parts)
app.command()(configs.show)
app.command()(configs.check)
app.command()(configs.schema)
app.command()(configs.convert)
app.command("data")(data.report)
app.command()(data.split)
app.command()(data.init)
analysis = app.command(rich_help_panel="Analysis and comparison")
analysis(networks.inspect)
analysis(compare.diff)
analysis(compare.compare)
analysis(networks.probe)
analysis(tune.tune)


def main() -> None:
    """Run the command line."""
    if sys.stdout is None:
        echo_errors("standard output is closed")
        sys.exit(1)
    if isinstance(sys.stdout, TextIOWrapper):
        # Output is UTF-8 in files and pipes in any locale; a terminal shows what it can.
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")
    # Processes that it starts would import modules from the current folder, whose files are data.
    os.environ["PYTHONSAFEPATH"] = "1"
    logging.getLogger("slotfill").handlers = [LogHandler()]
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
    app()


def _interrupt(number: int, frame: Any) -> None:
    """Do on SIGTERM what Ctrl-C does, also where a shell ignores Ctrl-C for background jobs."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)
