"""What the commands share: how they end on an error, and their common options."""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from typer import Abort, Argument, BadParameter, Context, Exit, Option
from typer.core import TyperGroup

from slotfill.cli.output import discard_output, echo_errors
from slotfill.errors import RunError, SlotfillError, UsageError, limit_messages, shorten_text
from slotfill.extras import find_missing_package, required_for
from slotfill.runs.device import EngineName

_ClickException: Any = BadParameter.__mro__[2]
"""The base class of errors in the use of a command, which typer does not export."""


class CommandGroup(TyperGroup):
    """The commands; every user error ends with one line per error and its exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command and exit with its code."""
        try:
            if not sys.argv[1:]:
                return super().main(*args, **options)
            code = super().main(*args, **(options | {"standalone_mode": False}))
        except _ClickException as error:
            message = " ".join(error.format_message().split()).replace("Value error, ", "")
            echo_errors(f"{message} (see --help)")
            code = 2
        except OSError as error:  # Of a help page; those of commands do not come here.
            discard_output()
            echo_errors(f"standard output: {error.strerror or error}")
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; print what users can cause as messages instead of tracebacks."""
        try:
            for argument in sys.argv:
                if argument.encode(errors="ignore").decode() != argument:
                    raise UsageError(
                        f"{argument!a}: not UTF-8; give text in another encoding as a file"
                    )
            return self._invoke(ctx)
        except SlotfillError as error:
            code, messages = error.exit_code, limit_messages(error.messages)
        except BrokenPipeError:
            discard_output()
            code, messages = 0, []
        except UnicodeEncodeError as error:  # A path has bytes that are no text.
            found = error.object[max(0, error.start - 20) : error.end + 20]
            where = " ".join(found.split())
            code, messages = 2, [f"{where!a}: not UTF-8; rename the file or folder"]
        except OSError as error:
            is_deleted = isinstance(error, FileNotFoundError)  # Of `os.getcwd`, without a name.
            name = str(error.filename or ("current folder" if is_deleted else "standard output"))
            code, messages = 1, [f"{name}: {error.strerror or error}"]
            if error.errno == errno.ENAMETOOLONG:
                code, messages = 2, [f"{_find_option(name)}{shorten_text(name)}: {error.strerror}"]
        except MemoryError as error:
            code, messages = 1, [f"out of memory: {error}" if str(error) else "out of memory"]
        except KeyboardInterrupt:
            code, messages = 130, ["stopped"]
        echo_errors(*messages)
        raise Exit(code)

    def _invoke(self, ctx: Any) -> Any:
        """Run a command; a package that is missing is an error in its use."""
        try:
            return super().invoke(ctx)
        except ImportError as error:
            raise find_missing_package(ctx.invoked_subcommand, error) from error
        except (SlotfillError, OSError, Exit, Abort, _ClickException):
            raise
        except (Exception, SystemExit) as error:
            from slotfill.config.registry import loaded_part_files

            if not loaded_part_files():
                raise
            from slotfill.lab.contracts.check import find_part_problem

            if (problem := find_part_problem(error)) is None:
                raise
            raise RunError(problem) from error


def _find_option(path: str) -> str:
    """Return the option of the command line that gives the longest part of `path`, or nothing."""
    words = [each for word in sys.argv for each in word.split("=", 1)]  # `--option=value`
    given = max((word for word in words if word in path), key=len, default="")
    option = words[words.index(given) - 1] if given and given in words[1:] else ""
    return f"{option} " if option.startswith("--") else ""


def _trust(context: Context, trust: bool) -> None:
    from slotfill.config.registry import trust_external_parts

    context.with_resource(trust_external_parts(trust))


def check_number(value: float | None) -> float | None:
    """Raise BadParameter if `value` is nan, which is below no bound and above none."""
    if value is not None and math.isnan(value):
        raise BadParameter("nan is not a number")
    return value


def parse_run(text: str) -> Path:
    """Return the path of a run; an empty one, of a variable not set, is not the current folder."""
    if not text:
        raise UsageError("RUN is empty; give the run folder that train wrote")
    return Path(text)


Trust = Annotated[
    bool,
    Option(
        "--trust",
        callback=_trust,
        help="Execute the files of user-defined parts that the config or the run names.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], Option(help="Device to compute on; auto is cuda if available.")
]
Force = Annotated[bool, Option("--force", help="Replace FILE if it exists.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON.")]
Config = Annotated[
    str | None,
    Argument(
        metavar="CONFIG",
        help=(
            "A built-in config or a YAML file; with data.path=PATH instead, all other keys have"
            " their defaults."
        ),
        show_default="taipei",
    ),
]
ConfigName = Annotated[str, Argument(metavar="CONFIG", help="A built-in config or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    Argument(metavar="KEY=VALUE", help="Config keys to override, e.g. encoder.hidden_size=200."),
]
Seed = Annotated[
    int | None, Option(min=0, max=2**32 - 1, help="Random seed; short for train.seed=N.")
]
RunPath = Annotated[
    Path,
    Argument(
        metavar="RUN",
        parser=parse_run,
        help="The run folder that train wrote, a file that pack wrote, or hf://USER/NAME.",
    ),
]
Engine = Annotated[
    EngineName,
    Option(
        help="Inference engine; auto is ONNX Runtime on a CPU if the run is exported, else torch."
    ),
]


Threshold = Annotated[
    list[str] | None,
    Option(
        metavar="P|SLOT=P",
        help=(
            "Leave out slots whose confidence is below this: 0.9 for all, city=0.7 for one;"
            " repeatable."
        ),
        show_default="those of the run",
    ),
]
IntentThreshold = Annotated[
    float | None,
    Option(
        min=0,
        max=1,
        callback=check_number,
        help="Leave out the intent if its confidence is below this.",
        show_default="that of the run",
    ),
]


Seeds = Annotated[str, Option(metavar="N,N,...", help="Random seeds; one training for each.")]


def parse_thresholds(words: Sequence[str] | None) -> tuple[float | None, dict[str, float]]:
    """Return the threshold of all slots and those of single slots in the values of --threshold."""
    general, by_slot = None, {}
    for word in words or ():
        name, equals, text = word.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1 or (equals and not name):
            raise UsageError(
                f"--threshold {word}: expected a number from 0 to 1, or SLOT=NUMBER, as city=0.7"
            )
        if equals:
            by_slot[name] = value
        else:
            general = value
    return general, by_slot


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the configs and the KEY=VALUE overrides in `words`; a path with `=` is a config."""
    _check_quotes(words)
    exists = os.path.exists  # Path.exists raises an error for words too long to be a file name.
    overrides = [word for word in words if "=" in word and not exists(word)]
    return [word for word in words if word not in overrides], overrides


def _check_quotes(words: Sequence[str]) -> None:
    if any("=" in word for word in words):  # The check imports what reads YAML.
        from slotfill.config.overrides import check_quotes

        check_quotes(words)


def one_config(config: str | None, overrides: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """Return the config, None if the command line has only overrides, and the overrides."""
    _check_quotes([config or "", *(overrides or ())])
    if config is None or split_overrides([config])[0]:
        return config, list(overrides or ())
    return None, [config, *(overrides or ())]


_Number = TypeVar("_Number", int, float)


def parse_list(
    option: str, text: str, kind: type[_Number], allowed: str, is_allowed: Callable[[_Number], bool]
) -> list[_Number]:
    """Return the numbers of `1,2,5`; raise UsageError if one is not allowed or occurs twice."""
    try:
        numbers = [kind(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(is_allowed, numbers)) or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"{option} {text}: must be {allowed}, each once, separated by commas, e.g. 1,2,5"
        )
    return numbers


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of `1,2,3`; raise UsageError if one is not a seed or occurs twice."""
    return parse_list(
        "--seeds", text, int, f"integers from 0 to {2**32 - 1}", lambda seed: 0 <= seed < 2**32
    )


def check_figure(path: Path) -> None:
    """Raise UsageError if `path` does not name a figure, or figures cannot be written."""
    if path.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise UsageError(f"--figure {path}: a figure is a .svg, .png or .pdf file")
    with required_for("--figure"):
        import matplotlib  # noqa: F401


def exit_stopped(finished: str) -> NoReturn:
    """Exit after Ctrl-C with a message that names the share that is `finished`."""
    echo_errors(f"stopped; {finished} are finished; run the same command to continue")
    raise Exit(130)
