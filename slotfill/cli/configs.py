"""Commands on configs, parts and data: list, show, check, schema, convert."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Exit, Option

from slotfill.cli.app import Config, Overrides, Trust, one_config, split_overrides
from slotfill.cli.output import echo, echo_errors, write_data, write_json
from slotfill.errors import SlotfillError, UsageError, did_you_mean, format_count, limit_messages
from slotfill.files import STANDARD_INPUT, spooled

if TYPE_CHECKING:
    from slotfill.data.corpus import ReadResult
    from slotfill.data.sentence import Issue


def list_parts(
    kind: Annotated[
        str | None, Argument(metavar="KIND", help="cells, encoders, ...", show_default="all")
    ] = None,
) -> None:
    """List the parts that a config can name, and the built-in configs."""
    from slotfill.cli import display
    from slotfill.config.builtin import builtin_config_names, config_summary
    from slotfill.config.registry import REGISTRIES

    tables = {"configs": [(name, config_summary(name), "") for name in builtin_config_names()]}
    for registry in REGISTRIES.values():
        parts = [(name, registry.part(name)) for name in registry.names()]
        tables[f"{registry.kind}s"] = [
            (name, f"{part.summary} {part.export}".strip(), part.source) for name, part in parts
        ]
    if kind is not None:
        plural = f"{kind.removesuffix('s')}s"
        if plural not in tables:
            raise UsageError(f"no kind of part '{kind}'{did_you_mean(kind, tables)}")
        tables = {plural: tables[plural]}
    display.print_parts(tables)


def show(config: Config = None, overrides: Overrides = None) -> None:
    """Print a complete config with every default, as it would run."""
    from slotfill.config.builtin import load_config

    write_data(load_config(*one_config(config, overrides))[1].to_yaml())


def check(
    words: Annotated[
        list[str],
        Argument(
            metavar="CONFIG | PATH | KEY=VALUE",
            help=(
                "Built-in configs, YAML files or folders of them, or sentences as for data;"
                " overrides apply to all, or without a config to the one that train uses."
            ),
        ),
    ],
    contract: Annotated[
        bool,
        Option(
            "--contract",
            help="Check what files of user-defined parts promise; KEY=VALUE are their options.",
        ),
    ] = False,
    trust: Trust = False,
) -> None:
    """Check configs and the sentences they name, or sentences alone, without training."""
    if contract:
        _check_contracts(*split_overrides(words))
    from slotfill.config.builtin import expand_configs
    from slotfill.data.detection import format_from_suffix
    from slotfill.data.folders import list_splits
    from slotfill.runs.check import check_config

    names, overrides = split_overrides(words)
    configs: list[str | None] = []
    for name in names:
        if name == "-":
            configs.append(name)
            continue
        try:
            configs += expand_configs(name)
        except UsageError:  # A folder without configs.
            if not format_from_suffix(Path(name)) and not list_splits(Path(name)):
                raise
            configs.append(name)
    exit_code = 0
    for config in configs or [None]:
        try:
            with spooled(STANDARD_INPUT) if config == "-" else nullcontext():
                name, summaries, warnings = check_config(config, overrides)
        except SlotfillError as error:
            echo_errors(*limit_messages(error.messages))
            exit_code = max(exit_code, error.exit_code)
            continue
        label = name if config == "-" else config or name
        for summary in summaries:
            echo(f"{label}: {summary}")
        for warning in limit_messages(warnings, "warning"):
            echo(f"{label}: warning: {warning}")
        echo(f"{label}: {format_count(len(warnings), 'warning') if warnings else 'ok'}")
    raise Exit(exit_code)


def _check_contracts(files: list[str], options: list[str]) -> None:
    """Print which contracts of the user-defined parts in `files` hold, and exit."""
    from slotfill.extras import required_for

    if not files:
        raise UsageError("--contract: give the file of a user-defined part, such as ./my_cell.py")
    with required_for("checking a part"):
        from slotfill.lab.contracts.check import check_contracts
    exit_code = 0
    for file in files:
        is_kept = True
        for contract, problem in check_contracts(file, options):
            if problem is None:
                echo(f"{file}: {contract}")
            else:
                is_kept = False
                echo_errors(f"{file}: FAILED {contract}: {problem}")
        if is_kept:
            echo(f"{file}: ok")
        else:
            exit_code = 1
    raise Exit(exit_code)


def schema() -> None:
    """Print the JSON Schema of configs, with which editors complete and validate YAML."""
    from slotfill.config.json_schema import schema

    write_json(schema(), indent=1)


def convert(
    source: Annotated[
        Path,
        Argument(
            metavar="SOURCE",
            help="A file of sentences, or a folder of a format or of splits; - is standard input.",
        ),
    ],
    target: Annotated[
        Path,
        Argument(
            metavar="TARGET", help="The file or folder to write; its suffix selects the format."
        ),
    ],
    scheme: Annotated[str, Option(help="Tag scheme of the source.")] = "iob2",
    to_scheme: Annotated[str, Option(help="Tag scheme of the target.")] = "iob2",
    tokenizer: Annotated[
        str, Option(help="Tokenizer for a source of text without tokens.")
    ] = "words",
    misaligned: Annotated[
        Literal["split", "widen", "skip", "error"],
        Option(help="What becomes of slots that begin or end inside a token."),
    ] = "split",
    from_format: Annotated[
        str | None,
        Option(
            "--from",
            help="Format of the source, with options as {name: conll, tag: 3}.",
            show_default="by name and content",
        ),
    ] = None,
    to_format: Annotated[
        str | None, Option("--to", help="Format of the target.", show_default="by suffix")
    ] = None,
    split: Annotated[
        str | None,
        Option(help="The split to convert, of a source that has several.", show_default="all"),
    ] = None,
    lossy: Annotated[
        bool, Option("--lossy", help="Write even if the target cannot hold a sentence unchanged.")
    ] = False,
    strict: Annotated[
        bool,
        Option("--strict", help="Refuse wrong offsets, overlapping slots and texts without words."),
    ] = False,
    trust: Trust = False,
) -> None:
    """Convert sentences to another format or tag scheme.

    Of a folder of splits, --split converts one to a file, and --to all to a folder.
    """
    from slotfill.data.convert import convert_file, convert_folder
    from slotfill.data.detection import format_from_suffix
    from slotfill.data.folders import find_split, is_corpus, list_splits

    options: dict[str, Any] = {
        "from_format": parse_format(from_format),
        "to_format": parse_format(to_format),
        "scheme": scheme,
        "to_scheme": to_scheme,
        "tokenizer": tokenizer,
        "misaligned": misaligned,
        "lossy": lossy,
        "strict": strict,
    }
    splits = list_splits(source, options["from_format"]) if is_corpus(source) else []
    if splits and split is not None:
        found = find_split(source, split, options["from_format"])
        if found is None:
            raise UsageError(f"{source}: no split '{split}'{did_you_mean(split, splits)}")
        source, split = found, None
    elif splits and (to_format is None or format_from_suffix(target)):
        raise UsageError(
            f"{source}: a folder of the splits {', '.join(splits)}; convert one with --split NAME,"
            f" or all: slotfill convert {source} FOLDER --to {to_format or 'jsonl'}"
        )
    elif splits:
        for file, (result, losses) in convert_folder(source, target, **options).items():
            _print_conversion(file, result, losses)
        return
    with spooled(STANDARD_INPUT) if str(source) == "-" else nullcontext(source) as source:
        result, losses = convert_file(source, target, split=split, **options)
    _print_conversion(target, result, losses)


def _print_conversion(target: Path, result: "ReadResult", losses: "list[Issue]") -> None:
    """Print what was converted and repaired, and what was not."""
    from slotfill.data.convert import describe_issues

    summary = format_count(len(result.sentences), "sentence")
    if result.repaired_tags:
        summary += f", {format_count(result.repaired_tags, 'tag')} repaired"
    if corrected := len(result.issues("corrected offset")):
        summary += f", {format_count(corrected, 'offset')} corrected"
    if blank := len(result.issues("no words")):
        summary += f", {format_count(blank, 'text')} without words left out"
    # Some are of the file, not of a sentence.
    locations = {sentence.location for sentence in result.sentences}
    if changed := len(locations & {issue.location for issue in losses}):
        summary += f", {format_count(changed, 'sentence')} not complete"
    echo(f"{target}: {summary}")
    echo_errors(*describe_issues([*result.issues("corrected offset"), *losses]))


def parse_format(text: str | None) -> Any:
    """Return a format, which may have options in braces as in a config."""
    from slotfill.config.builtin import load_config

    if text is None or not text.startswith("{"):
        return text
    return load_config(None, [f"data.format={text}"])[1].data.format
