"""Commands that compare configs, runs and files of predictions: compare, diff."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import json
import os
import re
import shlex
import sys
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit, Option

from slotfill.cli.app import (
    AsJson,
    Device,
    Force,
    Seeds,
    Trust,
    check_figure,
    exit_stopped,
    parse_list,
    parse_run,
    parse_seeds,
    split_overrides,
)
from slotfill.cli.output import echo, echo_errors, write_json
from slotfill.errors import UsageError, format_count
from slotfill.files import check_new_file, check_not_input, real_path, write_atomically
from slotfill.runs.device import resolve_device

if TYPE_CHECKING:
    from slotfill.lab.compare.plan import Plan


_FOR_TRAINING = {"variants", "seeds", "data", "out", "folds", "percentages", "jobs", "shard"}
"""Parameters that --system makes meaningless."""


def compare(
    context: Context,
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="CONFIG | KEY=VALUE",
            help="Built-in configs, YAML files or folders of them; overrides apply to all.",
        ),
    ] = None,
    variants: Annotated[
        list[str] | None,
        Option(
            "--with",
            metavar="KEY=VALUE...",
            help="Also compare each config with these overrides; can be repeated.",
        ),
    ] = None,
    seeds: Seeds = "1,2,3,4,5",
    data: Annotated[
        list[str] | None,
        Option(
            metavar="PATH",
            help="A corpus to train every config on instead of its own; can be repeated.",
        ),
    ] = None,
    out: Annotated[Path, Option(help="Folder of the run folders, OUT/CORPUS/NAME-seedN.")] = Path(
        "runs/compare"
    ),
    folds: Annotated[
        int | None,
        Option(
            min=2,
            metavar="K",
            help="Cross-validate: divide the training sentences by K, and test on each part.",
        ),
    ] = None,
    percentages: Annotated[
        str | None,
        Option(
            metavar="P,P,...",
            help="Also train on parts of the training sentences, e.g. 10,25,50,100.",
        ),
    ] = None,
    jobs: Annotated[int, Option(min=1, max=1024, help="Number of runs to train in parallel.")] = 1,
    shard: Annotated[
        str | None,
        Option(metavar="K/N", help="Train only every N-th run, and report nothing."),
    ] = None,
    figure: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Plot the F1 of every seed, or learning curves, as .svg, .png or .pdf.",
        ),
    ] = None,
    markdown: Annotated[
        Path | None, Option(metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    json_file: Annotated[
        Path | None, Option("--json", metavar="FILE", help="Write all results as JSON.")
    ] = None,
    csv: Annotated[
        Path | None, Option(metavar="FILE", help="Write a row for each config and split as CSV.")
    ] = None,
    latex: Annotated[
        Path | None, Option(metavar="FILE", help="Write the tables for LaTeX, with booktabs.")
    ] = None,
    systems: Annotated[
        list[str] | None,
        Option(
            "--system",
            metavar="NAME=PATH,...",
            help="Instead of configs: a run, or a file of predictions, for each seed; repeated.",
        ),
    ] = None,
    gold: Annotated[
        Path | None, Option(metavar="FILE", help="The labelled sentences, for --system.")
    ] = None,
    scheme: Annotated[
        str | None, Option(help="Tag scheme of --gold and of predictions.", show_default="iob2")
    ] = None,
    all_pairs: Annotated[
        bool, Option("--all-pairs", help="Also compare each config with each other one.")
    ] = False,
    force: Force = False,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Train configs with several seeds, and compare them with the first one.

    Reports F1, size, speed and significance. Finished runs are not trained again: run the same
    command to continue after an interruption. With --shard the jobs of an array divide the runs; a
    last call without it reports on all. With --system nothing is trained: runs, or predictions by
    any tool, are compared.
    """
    configs, overrides = split_overrides(words or ())
    from slotfill.config.builtin import default_config
    from slotfill.config.overrides import overridden_keys

    if systems:
        if words:
            raise UsageError("--system compares what is trained already; give no configs or data")
        for option in context.command.params:
            source = context.get_parameter_source(option.name or "")
            if option.name in _FOR_TRAINING and source and source.name == "COMMANDLINE":
                raise UsageError(
                    f"{option.opts[0]} is for training; --system compares what is trained already"
                )
        if scheme and not gold:
            raise UsageError("--scheme is that of --gold and of predictions; give --gold FILE")
    elif gold or scheme:
        raise UsageError(f"{'--gold' if gold else '--scheme'} is for --system NAME=PATH")
    elif not configs and default_config(overrides):
        raise UsageError("no CONFIG given; the first one is the baseline of the comparison")
    variant_words = list(dict.fromkeys(map(_parse_variant, variants or ())))
    keys = overridden_keys([*overrides, *chain.from_iterable(variant_words)])
    if "train.seed" in keys:
        raise UsageError("train.seed is set by --seeds; give --seeds alone")
    if data and "data.path" in keys:
        raise UsageError("data.path is set by --data; give one of them")
    parts = _parse_percentages(percentages) if percentages else []
    files = [file for file in (markdown, json_file, csv, latex, figure) if file is not None]
    if files and shard is not None:
        raise UsageError("--shard trains a part of the runs; write files by a last call without it")
    if all_pairs and shard is not None:
        raise UsageError("--shard trains a part of the runs; give --all-pairs in a last call")
    for file in files:
        check_new_file(file, force=force)
        if [real_path(other) for other in files].count(real_path(file)) > 1:
            raise UsageError(f"{file}: two options write this file; give each its own name")
    if figure is not None:
        check_figure(figure)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a folder for the run folders")

    from slotfill.cli import display
    from slotfill.lab.compare import report as comparison
    from slotfill.lab.compare import tables
    from slotfill.lab.compare.plan import plan as plan_jobs

    command = shlex.join(["slotfill", *sys.argv[1:]])
    errors: dict[str, str] = {}
    if systems:
        from slotfill.lab.compare.systems import compare_systems

        parsed = _parse_systems(systems)
        inputs = [*filter(None, [gold]), *chain.from_iterable(parsed.values())]
        for file in files:
            check_not_input(file, inputs)
        report = compare_systems(
            parsed,
            command,
            gold=gold,
            scheme=scheme,
            device=resolve_device(device),
            all_pairs=all_pairs,
        )
    else:
        plan = plan_jobs(
            configs or [None],
            out,
            overrides=overrides,
            variants=variant_words,
            seeds=parse_seeds(seeds),
            data=data or (),
            folds=folds or 0,
            percentages=parts,
            shard=shard,
        )
        for file in files:
            check_not_input(file, plan.inputs)
        errors = train_jobs(plan, jobs, device)
        for title, error in errors.items():
            echo_errors(f"{title}: {error}")
        if shard is not None:
            raise Exit(1 if errors else 0)
        report = comparison.summarize(plan, errors, command, all_pairs=all_pairs)
    if figure is not None:
        from slotfill.lab.probe import figures

        if report.learning_curves:
            plot = figures.plot_learning_curves(report.learning_curves)
        else:
            plot = figures.plot_scores(report)
        write_atomically(figure, figures.render(plot, figure.suffix))
    if markdown:
        link = Path(os.path.relpath(figure, markdown.parent)).as_posix() if figure else ""
        write_atomically(markdown, tables.markdown(report, link))
    if json_file:
        write_atomically(json_file, json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    if csv:
        write_atomically(csv, tables.render_csv(report))
    if latex:
        write_atomically(latex, tables.render_latex(report))
    display.print_tables(tables.tables(report), tables.legend(report))
    raise Exit(1 if errors else 0)


def _parse_systems(texts: list[str]) -> dict[str, list[Path]]:
    """Return the paths of each system in the values of --system, by its name."""
    systems: dict[str, list[Path]] = {}
    for text in texts:
        name, separator, paths = text.partition("=")
        if not (name and separator and all(paths.split(","))):
            raise UsageError(
                f"--system {text}: must be NAME=PATH,PATH,..., as crf=run1,run2 or ours=test.jsonl"
            )
        if name in systems:
            raise UsageError(f"--system {name} is given twice; part its paths by commas")
        systems[name] = [Path(path) for path in paths.split(",")]
        given: dict[Path, Path] = {}
        for path in systems[name]:
            if not path.exists():
                raise UsageError(f"--system {name}: {path}: there is no such file or run")
            if (same := given.setdefault(real_path(path), path)) is not path:
                raise UsageError(
                    f"--system {name}: {path} is given twice"
                    + (f", first as {same}" if same != path else "")
                    + "; each path is one seed, so give each once"
                )
    return systems


def _parse_variant(text: str) -> tuple[str, ...]:
    """Return the overrides in the value of --with; raise UsageError if it has others, or none."""
    try:
        words = _split_words(text)
    except ValueError as error:
        raise UsageError(f"--with {text}: {error}") from None
    configs, overrides = split_overrides(words)
    if configs or not overrides:
        raise UsageError(
            f"--with {text!r}: must be overrides separated by spaces, as 'train.epochs=8'"
        )
    return tuple(overrides)


def _split_words(text: str) -> list[str]:
    """Return the words of `text`, as a shell would, but each value in brackets in one word."""
    words = [""]
    quote, depth = "", 0
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "{[" and (depth or words[-1].endswith("=")):
            depth += 1
        elif character in "}]" and depth:
            depth -= 1
        if character.isspace() and not quote and not depth:
            words.append("")
        else:
            words[-1] += character
    if quote:
        raise ValueError("No closing quotation")
    # Quotes in brackets are those of YAML, which reads them.
    unquoted = ([word] if _IN_BRACKETS.match(word) else shlex.split(word) for word in words)
    return list(chain.from_iterable(unquoted))


_IN_BRACKETS = re.compile(r"""[^'"=]*=[{\[]""")
"""How an override begins whose value is in brackets."""


def _parse_percentages(text: str) -> list[int]:
    return parse_list(
        "--percentages", text, int, "integers from 1 to 100", lambda number: 1 <= number <= 100
    )


def train_jobs(
    plan: "Plan", processes: int, device: str, *, to_stderr: bool = False
) -> dict[str, str]:
    """Train what is not finished, and return the errors of failed jobs by title."""
    from slotfill.lab.compare.job import is_finished, list_changes
    from slotfill.lab.compare.runner import Stopped, run_jobs

    finished = sum(map(is_finished, plan.jobs))
    runs = format_count(len(plan.jobs), "run")
    echo(runs + (f", {finished} of them already finished" if finished else ""), err=to_stderr)
    if changes := list_changes(plan.jobs):
        what = "; ".join(changes)
        echo(f"Warning: what is finished was trained with other versions: {what}", err=True)
    try:
        return run_jobs(
            plan,
            lambda job, text: echo(f"{job.title}: {text}", err=to_stderr),
            processes=processes,
            device=resolve_device(device),
        )
    except Stopped:
        finished = sum(map(is_finished, plan.jobs))
        exit_stopped(f"{finished} of {len(plan.jobs)} runs")


def diff(
    runs: Annotated[
        list[Path] | None,
        Argument(metavar="RUN_A RUN_B", parser=parse_run, help="The run folders A and B."),
    ] = None,
    split: Annotated[
        str | None, Option(help="A split of the runs' own data.", show_default="test, else valid")
    ] = None,
    data: Annotated[Path | None, Option(help="Other labelled sentences.")] = None,
    gold: Annotated[
        Path | None, Option(help="Labelled sentences, for --a and --b instead of runs.")
    ] = None,
    a: Annotated[
        Path | None, Option(metavar="FILE", help="The same sentences as predicted by A.")
    ] = None,
    b: Annotated[
        Path | None, Option(metavar="FILE", help="The same sentences as predicted by B.")
    ] = None,
    scheme: Annotated[
        str | None, Option(help="Tag scheme of --gold, --a and --b.", show_default="iob2")
    ] = None,
    limit: Annotated[
        int, Option(min=0, metavar="N", help="Number of sentences to print of each kind.")
    ] = 10,
    as_json: AsJson = False,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Show which sentences two systems predict differently, for better and for worse.

    Compares two runs, or two files of predictions by any tool, with the significance test of
    compare.
    """
    from slotfill.cli.highlight import print_diff
    from slotfill.lab import diff as diffing
    from slotfill.runs.evaluate import name_sentences
    from slotfill.runs.load import load_run

    files = [file for file in (gold, a, b) if file is not None]
    if files:
        if runs or split or data or len(files) < 3:
            raise UsageError("give RUN_A RUN_B, or --gold, --a and --b without runs")
        name, systems = str(gold), [str(a), str(b)]
        difference = diffing.diff_files(*files, scheme=scheme or "iob2")
    else:
        if runs is None or len(runs) != 2 or scheme:
            raise UsageError("give two runs, or --gold, --a, --b and --scheme for predictions")
        if split is not None and data is not None:
            raise UsageError("--split names a split of the runs' own data, --data other: give one")
        loaded = [load_run(run, device) for run in runs]
        name, systems = name_sentences(loaded[0], split, data), list(map(str, runs))
        difference = diffing.diff_runs(*loaded, split=split, path=data)
    if as_json:
        write_json(dict(zip("ab", systems, strict=True)) | difference.to_json(), indent=1)
    else:
        print_diff(difference, name, systems, limit)
