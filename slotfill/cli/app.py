"""The Typer app that the commands are added to: how it ends on a user's mistake, and the options
they share.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from slotfill.errors import ConfigError, SlotfillError, UsageError
from slotfill.inference.engine import EngineName
from slotfill.runs.device import resolve_device

if TYPE_CHECKING:
    from slotfill.runs.load import Run

_Misuse: Any = typer.BadParameter.__mro__[2]
"""What typer raises for all that is wrong with how a command was typed; it has no public name of
its own.
"""


class _Commands(TyperGroup):
    """The commands; a mistake of the user's ends with a line for each fault and with its exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        if not sys.argv[1:]:
            return super().main(*args, **options)
        try:
            code = super().main(*args, **(options | {"standalone_mode": False}))
        except _Misuse as fault:
            told = " ".join(fault.format_message().split()).replace("Value error, ", "")
            typer.echo(f"slotfill: {told} (see --help)", err=True)
            code = 2
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            for argument in sys.argv:
                if argument.encode(errors="ignore").decode() != argument:
                    raise UsageError(
                        f"{argument!a}: not UTF-8; give what is in another encoding as a file"
                    )
            return super().invoke(ctx)
        except SlotfillError as fault:
            print_errors(fault)
            raise typer.Exit(fault.exit_code) from None
        except BrokenPipeError:
            # Who reads our output has seen enough; what Python still holds of it goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit from None
        except OSError as fault:
            typer.echo(
                f"slotfill: {fault.filename or 'input or output'}: {fault.strerror or fault}",
                err=True,
            )
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("slotfill: stopped", err=True)
            raise typer.Exit(130) from None


def print_errors(fault: SlotfillError) -> None:
    """Print a line for each fault."""
    for line in fault.faults if isinstance(fault, ConfigError) else [str(fault)]:
        typer.echo(f"slotfill: {line}", err=True)


app = typer.Typer(
    name="slotfill",
    cls=_Commands,
    help="Learn to fill the slots of sentences from labelled ones: train, evaluate, predict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; auto takes cuda if it is there."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ConfigName = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A built-in config or a YAML file.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Keys to set over the file's: encoder.hidden_size=200"
    ),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that train wrote.")]


Engine = Annotated[
    EngineName,
    typer.Option(help="What computes; auto takes ONNX Runtime on a CPU where the run is exported."),
]


def open_run(run: Path, device: str, engine: EngineName) -> Run:
    """Return the run in the folder `run`, as `load_run` opens it; torch is not imported where it
    has nothing to do.
    """
    from slotfill.runs.load import check_run_folder, is_exported, load_run

    if engine == "onnx" or (engine == "auto" and device != "cuda" and is_exported(run)):
        return load_run(run, "cpu" if device == "auto" else device, "onnx")
    check_run_folder(run)
    return load_run(run, resolve_device(device), "torch")
