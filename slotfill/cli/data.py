"""Commands on sentences before training: data, split, init."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from slotfill.cli.app import (
    AsJson,
    Device,
    Force,
    Trust,
    check_number,
    parse_seeds,
    split_overrides,
)
from slotfill.cli.compare import train_jobs
from slotfill.cli.output import echo, echo_errors, write_json
from slotfill.errors import DataError, UsageError, did_you_mean, format_count
from slotfill.extras import required_for
from slotfill.files import (
    STANDARD_INPUT,
    check_new_file,
    check_not_input,
    real_path,
    spooled,
    write_atomically,
)
from slotfill.runs.device import resolve_device

if TYPE_CHECKING:
    from slotfill.data.report import DataReport

_SUSPECTS = "With --suspects"
_MAX_PLACES = 20
"""The places that are printed of a finding; of errors and misaligned slots it is all."""


def report(
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="PATH | CONFIG | KEY=VALUE",
            help=(
                "A file of sentences, a folder of splits or a config; several files are splits,"
                " each called after its file. - is standard input."
            ),
            show_default="taipei",
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        Option(
            metavar="KIND[,KIND]", help="Exit with 3 if there is a finding of such a kind, too."
        ),
    ] = None,
    html: Annotated[
        Path | None, Option(metavar="FILE", help="Write the report as an HTML page.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    suspects: Annotated[
        bool,
        Option(
            "--suspects",
            help="Instead, train models to find labels that are likely to be wrong.",
        ),
    ] = False,
    folds: Annotated[
        int,
        Option(
            min=2,
            metavar="K",
            help="Divide the training sentences by K; each part is tagged by a model of the rest.",
            rich_help_panel=_SUSPECTS,
        ),
    ] = 5,
    seeds: Annotated[
        str,
        Option(
            metavar="N,N,...",
            help="Random seeds; one training for each, and each fold.",
            rich_help_panel=_SUSPECTS,
        ),
    ] = "1",
    top: Annotated[
        int,
        Option(min=1, metavar="N", help="Number of labels to show.", rich_help_panel=_SUSPECTS),
    ] = 50,
    out: Annotated[
        Path, Option(help="Folder of the run folders, as in compare.", rich_help_panel=_SUSPECTS)
    ] = Path("runs/compare"),
    jobs: Annotated[
        int,
        Option(
            min=1, max=1024, help="Number of runs to train in parallel.", rich_help_panel=_SUSPECTS
        ),
    ] = 1,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Report what data contains, and what may be wrong with it.

    With --suspects, trains on all sentences but a fold, for each fold in turn, and lists the labels
    that the models contradict. Finished runs are not trained again.
    """
    paths, overrides = split_overrides(words or ())
    if suspects:
        if html is not None or fail_on is not None:
            raise UsageError("--suspects goes with neither --html nor --fail-on")
        _report_suspects(paths, overrides, folds, seeds, top, out, jobs, device, as_json)
        return
    if html is not None:
        check_new_file(html, force=force)

    from slotfill.data.findings import KINDS
    from slotfill.runs.check import report_data

    kinds = fail_on.split(",") if fail_on is not None else []
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--fail-on: unknown kind '{kind}'{did_you_mean(kind, KINDS)}")
    if html is not None:
        check_not_input(html, map(Path, paths))
    with spooled(STANDARD_INPUT) if paths == ["-"] else nullcontext():
        found = report_data(paths, overrides)
    has_sentences = any(split.sentences for split in found.splits)
    if html is not None:
        from slotfill.lab.data import render_page

        write_atomically(html, render_page(found))
    if as_json:
        from dataclasses import asdict

        write_json(asdict(found), indent=1)
    elif html is not None:
        echo(f"{html}: {format_count(len(found.findings), 'finding')}")
    elif has_sentences:
        _print_report(found)
    if not has_sentences:
        raise DataError(*(place for finding in found.findings for place in finding.places))
    failed = [each for each in found.findings if each.is_error or each.kind in kinds]
    if failed:
        raise DataError(*(f"{finding.kind}: {finding.message}" for finding in failed))


def _print_report(report: "DataReport") -> None:
    from slotfill.cli import display
    from slotfill.lab.data import tables

    display.print_tables(tables(report), [], divide=False)
    for finding in report.findings:
        echo(f"{finding.kind}: {finding.message}")
        places = finding.places
        is_complete = finding.is_error or finding.kind == "misaligned"
        shown = len(places) if is_complete else _MAX_PLACES
        for place in places[:shown]:
            echo(f"  {place}")
        if len(places) > shown:
            echo(f"  and {len(places) - shown:,} more, which --json and --html list")
    usual = sum(finding.is_usual for finding in report.findings)
    problems = format_count(len(report.findings) - usual, "problem")
    echo(f"{report.name}: {problems}, {format_count(usual, 'usual finding')}")


def _report_suspects(
    paths: Sequence[str],
    overrides: Sequence[str],
    folds: int,
    seeds: str,
    top: int,
    out: Path,
    jobs: int,
    device: str,
    as_json: bool,
) -> None:
    if paths[1:]:
        raise UsageError("--suspects takes one config or path of training sentences")
    from slotfill.cli import display
    from slotfill.config.builtin import load_config
    from slotfill.runs.check import resolve_data

    with required_for("data --suspects"):
        from slotfill.lab import suspects as finding
        from slotfill.lab.compare.plan import plan as plan_jobs

    name, settings = resolve_data(paths[0] if paths else None, overrides)
    data = load_config(name, settings, need_data=True)[1].data
    plan = plan_jobs([name], out, overrides=settings, seeds=parse_seeds(seeds), folds=folds)
    errors = train_jobs(plan, jobs, device, to_stderr=as_json)
    found = finding.find_suspects(plan, data, resolve_device(device))
    if as_json:
        write_json([suspect.to_json() for suspect in found], indent=1)
    else:
        total = format_count(len(found), "label")
        display.print_tables(
            finding.tables(found[:top]),
            [f"{total} contradicted; the most confident come first."],
            divide=False,
        )
    for title, error in errors.items():
        echo_errors(f"{title}: {error}")
    raise Exit(1 if errors else 0)


def split(
    source: Annotated[
        Path,
        Argument(metavar="DATA", help="A file of labelled sentences; - is standard input."),
    ],
    out: Annotated[Path, Option(help="The new folder with train, valid and test.")],
    valid: Annotated[
        float,
        Option(
            min=0, max=1, callback=check_number, help="The share of valid; 0 for no such split."
        ),
    ] = 0.1,
    test: Annotated[
        float,
        Option(min=0, max=1, callback=check_number, help="The share of test; 0 for no such split."),
    ] = 0.1,
    seed: Annotated[int, Option(min=0, max=2**32 - 1, help="Random seed of the draw.")] = 1,
    to_format: Annotated[
        str | None, Option("--to", help="Format to write.", show_default="that of DATA")
    ] = None,
    from_format: Annotated[
        str | None, Option("--from", help="Format of DATA.", show_default="by name and content")
    ] = None,
    scheme: Annotated[str, Option(help="Tag scheme of DATA and of what is written.")] = "iob2",
    lossy: Annotated[
        bool, Option("--lossy", help="Write even if the format cannot hold a sentence unchanged.")
    ] = False,
) -> None:
    """Divide sentences into train, valid and test, the same way each time.

    Slots and intents are spread evenly, and sentences with the same text are kept together.
    """
    from slotfill.data.convert import describe_issues
    from slotfill.data.split_file import split_file

    with spooled(STANDARD_INPUT) if str(source) == "-" else nullcontext(source) as source:
        sizes, losses = split_file(
            source,
            out,
            {"valid": valid, "test": test},
            seed=seed,
            from_format=from_format,
            to_format=to_format,
            scheme=scheme,
            lossy=lossy,
        )
    for name, size in sizes.items():
        echo(f"{out}: {name}: {format_count(size, 'sentence')}")
    echo_errors(*describe_issues(losses))


def init(
    source: Annotated[
        Path,
        Argument(metavar="DATA", help="A file of labelled sentences, or a folder of splits."),
    ],
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The config to write.", show_default="NAME.yaml")
    ] = None,
    force: Force = False,
) -> None:
    """Write a short config that fits the data, and say what it was inferred from."""
    out = out or Path(f"{real_path(source).stem}.yaml")
    check_new_file(out, force=force)
    check_not_input(out, [source])

    from slotfill.lab.init import infer_config

    files, reasons = infer_config(source, out)
    for file in files:
        check_new_file(file, force=force)
        check_not_input(file, [source])
    for file, content in files.items():
        write_atomically(file, content)
    for reason in reasons:
        echo(reason)
    echo(f"The config is {out}. Next:")
    echo(f"  slotfill train {shlex.quote(str(out))}")
