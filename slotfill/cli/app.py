"""What the commands share: how they end on an error, their common options, and opening a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from slotfill.cli.output import discard_output, echo
from slotfill.errors import SlotfillError, UsageError
from slotfill.inference.engine import EngineName

_ClickException: Any = typer.BadParameter.__mro__[2]
"""The base class of errors in the use of a command, which typer does not export."""

_DISTRIBUTIONS = {"yaml": "pyyaml"}
"""Packages whose name on PyPI differs from the name of the module."""


class CommandGroup(TyperGroup):
    """The commands; every user error ends with one line per error and its exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command and exit with its code."""
        if not sys.argv[1:]:
            return super().main(*args, **options)
        try:
            code = super().main(*args, **(options | {"standalone_mode": False}))
        except _ClickException as error:
            message = " ".join(error.format_message().split()).replace("Value error, ", "")
            echo(f"slotfill: {message} (see --help)", err=True)
            code = 2
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; print what users can cause as messages instead of tracebacks."""
        try:
            for argument in sys.argv:
                if argument.encode(errors="ignore").decode() != argument:
                    raise UsageError(
                        f"{argument!a}: not UTF-8; give text in another encoding as a file"
                    )
            return super().invoke(ctx)
        except SlotfillError as error:
            print_errors(error)
            code = error.exit_code
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "slotfill"):
                raise
            install = f"pip install {_DISTRIBUTIONS.get(package, package)}"
            echo(f"slotfill: the package {package} is not installed: {install}", err=True)
            code = 2
        except BrokenPipeError:
            discard_output()
            code = 0
        except OSError as error:
            name = error.filename or "standard output"
            echo(f"slotfill: {name}: {error.strerror or error}", err=True)
            code = 1
        except KeyboardInterrupt:
            echo("slotfill: stopped", err=True)
            code = 130
        raise typer.Exit(code)


def print_errors(error: SlotfillError) -> None:
    """Print one line per error."""
    for message in error.messages:
        echo(f"slotfill: {message}", err=True)


def _trust(context: typer.Context, trust: bool) -> None:
    from slotfill.config.registry import trust_external_parts

    context.with_resource(trust_external_parts(trust))


Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        callback=_trust,
        help="Execute the files of user-defined parts that the config or the run names.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Device to compute on; auto is cuda if available."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Config = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG",
        help=(
            "A built-in config or a YAML file; with data.path=PATH instead, all other keys have"
            " their defaults."
        ),
        show_default="taipei",
    ),
]
ConfigName = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A built-in config or a YAML file.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Config keys to override, e.g. encoder.hidden_size=200."
    ),
]
Seed = Annotated[
    int | None, typer.Option(min=0, max=2**32 - 1, help="Random seed; short for train.seed=N.")
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that train wrote.")]
Engine = Annotated[
    EngineName,
    typer.Option(
        help="Inference engine; auto is ONNX Runtime on a CPU if the run is exported, else torch."
    ),
]


def split_overrides(words: Iterable[str | None]) -> tuple[list[str], list[str]]:
    """Return the configs and the KEY=VALUE overrides in `words`; a path with `=` is a config."""
    arguments = [word for word in words if word is not None]
    # Not Path.exists, which raises an error for words too long to be a file name.
    exists = os.path.exists
    overrides = [word for word in arguments if "=" in word and not exists(word)]
    return [word for word in arguments if word not in overrides], overrides


def one_config(config: str | None, overrides: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """Return the config, None if the command line has only overrides, and the overrides."""
    if config is None or split_overrides([config])[0]:
        return config, list(overrides or ())
    return None, [config, *(overrides or ())]
