"""Commands for analysis: inspect a run, compare configs, probe memory, tune hyperparameters."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

from typer import Argument, Exit, Option

from slotfill.cli.app import (
    AsJson,
    Config,
    Device,
    Force,
    Overrides,
    RunPath,
    Seed,
    Trust,
    one_config,
    parse_run,
    split_overrides,
)
from slotfill.cli.output import echo, echo_errors, write_json
from slotfill.errors import UsageError, format_count
from slotfill.extras import required_for
from slotfill.files import check_new_file, check_not_input, write_atomically
from slotfill.runs.device import resolve_device

if TYPE_CHECKING:
    from slotfill.lab.compare.jobs import Plan

Seeds = Annotated[str, Option(metavar="N,N,...", help="Random seeds; one training for each.")]


def inspect(
    run: RunPath,
    sentence: Annotated[str, Argument(metavar="SENTENCE", help="The text to tag.")],
    layer: Annotated[int | None, Option(min=1, metavar="N", help="Show only this layer.")] = None,
    gate: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Show only forget, memory, weights, marginals, ...; can be repeated.",
        ),
    ] = None,
    html: Annotated[
        Path | None, Option(metavar="FILE", help="Write the heat maps as an HTML page.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Show the gates, hidden states, attention and tags of a run on one sentence.

    Prints heat maps with a row for each token: in colour on a terminal, as characters elsewhere.
    """
    if html is not None:
        check_new_file(html, force=force)

    from slotfill.cli import display
    from slotfill.lab.inspect import html as heat_map_page
    from slotfill.lab.inspect.inspection import inspect
    from slotfill.runs.load import load_run
    from slotfill.runs.manifest import FILES

    if html is not None:
        check_not_input(html, [run / name for name in FILES])
    inspection = inspect(load_run(run, resolve_device(device), "torch"), sentence).filter(
        layer=layer, names=gate or ()
    )
    if html is not None:
        write_atomically(html, heat_map_page.render_page(inspection, run.resolve().name))
    if as_json:
        write_json(inspection.to_json())
    elif html is not None:
        echo(f"{html}: {format_count(len(inspection.panels), 'figure')}")
    else:
        display.print_heat_maps(inspection)


def compare(
    words: Annotated[
        list[str],
        Argument(
            metavar="CONFIG | KEY=VALUE",
            help="Built-in configs, YAML files or folders of them; overrides apply to all.",
        ),
    ],
    seeds: Seeds = "1,2,3",
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
    jobs: Annotated[int, Option(min=1, help="Number of runs to train in parallel.")] = 1,
    shard: Annotated[
        str | None,
        Option(metavar="K/N", help="Train only every N-th run, and report nothing."),
    ] = None,
    figure: Annotated[
        Path | None,
        Option(metavar="FILE", help="Write the learning curves as .svg, .png or .pdf."),
    ] = None,
    markdown: Annotated[
        Path | None, Option(metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    json_file: Annotated[
        Path | None, Option("--json", metavar="FILE", help="Write all results as JSON.")
    ] = None,
    force: Force = False,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Train configs with several seeds, and compare them with the first one.

    Reports F1, size, speed and significance. Finished runs are not trained again: run the same
    command to continue after an interruption. With --shard the jobs of an array divide the runs; a
    last call without it reports on all.
    """
    configs, overrides = split_overrides(words)
    from slotfill.config.builtin import default_config
    from slotfill.config.overrides import overridden_keys

    if not configs and default_config(overrides):
        raise UsageError("no CONFIG given; the first one is the baseline of the comparison")
    keys = overridden_keys(overrides)
    if "train.seed" in keys:
        raise UsageError("train.seed is set by --seeds; give --seeds alone")
    if data and "data.path" in keys:
        raise UsageError("data.path is set by --data; give one of them")
    if figure is not None and not percentages:
        raise UsageError("--figure is of learning curves; add --percentages 10,25,50,100")
    parts = _parse_percentages(percentages) if percentages else []
    files = [file for file in (markdown, json_file, figure) if file is not None]
    if files and shard is not None:
        raise UsageError("--shard trains a part of the runs; write files by a last call without it")
    for file in files:
        check_new_file(file, force=force)
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError(f"{files[0]}: --markdown, --json and --figure need different files")
    if figure is not None:
        _check_figure(figure)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a folder for the run folders")

    from slotfill.cli import display
    from slotfill.lab.compare import jobs as comparing
    from slotfill.lab.compare import report as comparison
    from slotfill.lab.compare import tables

    plan = comparing.plan(
        configs or [None],
        out,
        overrides=overrides,
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
    report = comparison.summarize(plan, errors, shlex.join(["slotfill", *sys.argv[1:]]))
    if figure is not None:
        from slotfill.lab.probe import figures

        plot = figures.plot_learning_curves(report.learning_curves)
        write_atomically(figure, figures.render(plot, figure.suffix))
    if markdown:
        link = Path(os.path.relpath(figure, markdown.parent)).as_posix() if figure else ""
        write_atomically(markdown, tables.markdown(report, link))
    if json_file:
        write_atomically(json_file, json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    display.print_tables(tables.tables(report), tables.legend(report))
    raise Exit(1 if errors else 0)


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
    from slotfill.cli import display
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
        display.print_diff(difference, name, systems, limit)


def probe(
    cells: Annotated[
        list[str] | None,
        Option(
            metavar="CELL,CELL,...",
            help="Cells as in YAML: gru, {name: elman, activation: relu}.",
            show_default="elman, lstm, gru and variants",
        ),
    ] = None,
    distances: Annotated[
        str, Option(metavar="N,N,...", help="Numbers of tokens from the verb to the city.")
    ] = "1,2,5,10,20,50,100",
    seeds: Seeds = "1,2,3",
    steps: Annotated[int, Option(min=1, help="Training steps of each network.")] = 400,
    hidden_size: Annotated[int, Option(min=1, help="Hidden size of the cells.")] = 32,
    gain: Annotated[
        str,
        Option(
            metavar="X,X,...", help="Factors of the recurrent weights, to see gradients explode."
        ),
    ] = "2,4",
    mixed: Annotated[
        bool, Option("--mixed", help="Train one network on all distances instead of one on each.")
    ] = False,
    figure: Annotated[
        Path | None, Option(metavar="FILE", help="Write a figure: .svg, .png or .pdf.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Measure how long recurrent cells remember: accuracy and gradient by distance in tokens.

    In each generated sentence, only the verb, N tokens before the city, determines whether the
    city is an origin or a destination.
    """
    tokens = _parse_list(
        "--distances", distances, int, "integers from 1 to 10000", lambda n: 1 <= n <= 10_000
    )
    factors = _parse_list("--gain", gain, float, "numbers above 0", lambda x: 0 < x < math.inf)
    training = (steps, hidden_size, parse_seeds(seeds), sorted(tokens), sorted(factors), mixed)
    if figure is not None:
        check_new_file(figure, force=force)
        _check_figure(figure)

    from slotfill.cli import display
    from slotfill.cli.progress import probe_progress
    from slotfill.lab.probe import probe as probing

    named_cells = probing.read_cells(cells or probing.DEFAULT_CELLS)
    settings = probing.ProbeSettings(*training)
    resolve_device("cpu")
    with probe_progress() as report:
        results = probing.probe(named_cells, settings, report)
    if figure is not None:
        from slotfill.lab.probe import figures

        write_atomically(figure, figures.render(figures.plot_probe(results), figure.suffix))
    if as_json:
        write_json(probing.to_json(named_cells, settings, results))
    else:
        legend = (
            f"{max(settings.distances)}, x N: recurrent weights times N; trained: on the"
            " longest distance."
        )
        display.print_tables(probing.tables(results), [legend])


def tune(
    config: Config = None,
    overrides: Overrides = None,
    trials: Annotated[int, Option(min=1, help="Total number of trials of the study.")] = 20,
    seeds: Annotated[
        int,
        Option(
            min=1,
            metavar="K",
            help="Train each trial with K seeds, from train.seed on; its F1 is the mean.",
        ),
    ] = 1,
    seed: Seed = None,
    out: Annotated[
        Path | None, Option(help="Folder of the study.", show_default="tuned/NAME")
    ] = None,
    storage: Annotated[
        str | None,
        Option(
            metavar="FILE|URL",
            help="Journal file or database URL of the trials, which machines can share.",
            show_default="OUT/study.journal",
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Tune hyperparameters: search the space under `tune:` of a config for the best valid F1.

    The test split is never used. Run the same command to continue a study, or run it several
    times in parallel. Ctrl-C keeps the finished trials.
    """
    with required_for("tune"):
        import optuna  # noqa: F401

    from slotfill.cli import display
    from slotfill.cli.progress import tuning_progress
    from slotfill.lab.tune import search as tuning

    name, settings = one_config(config, overrides)
    settings += [] if seed is None else [f"train.seed={seed}"]
    search = tuning.plan(name, settings, seeds=seeds, out=out)
    resolved_device = resolve_device(device)
    study = tuning.open_study(search, storage)
    stopped = False
    with tuning_progress(stderr=as_json) as report:
        try:
            tuning.run_trials(search, study, trials, report, device=resolved_device)
        except KeyboardInterrupt:
            stopped = True
    result = tuning.summarize(search, study)
    if as_json:
        write_json(asdict(result))
    else:
        display.print_tables(tuning.tables(result), tuning.legend(result))
        if result.best:
            echo(f"The best config is {search.best_path}. Next:")
            echo(f"  slotfill train {shlex.quote(str(search.best_path))}")
    if stopped:
        _exit_stopped(f"{len(result.trials)} of {trials} trials")
    if not result.best and not result.running:
        echo_errors("no trial finished")
        raise Exit(1)


def train_jobs(
    plan: "Plan", processes: int, device: str, *, to_stderr: bool = False
) -> dict[str, str]:
    """Train what is not finished, and return the errors of failed jobs by title."""
    from slotfill.lab.compare.jobs import Stopped, is_finished, run_jobs

    finished = sum(map(is_finished, plan.jobs))
    runs = format_count(len(plan.jobs), "run")
    echo(runs + (f", {finished} of them already finished" if finished else ""), err=to_stderr)
    try:
        return run_jobs(
            plan,
            lambda job, text: echo(f"{job.title}: {text}", err=to_stderr),
            processes=processes,
            device=resolve_device(device),
        )
    except Stopped:
        finished = sum(map(is_finished, plan.jobs))
        _exit_stopped(f"{finished} of {len(plan.jobs)} runs")


def _check_figure(path: Path) -> None:
    """Raise UsageError if `path` does not name a figure, or figures cannot be written."""
    if path.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise UsageError(f"--figure {path}: a figure is a .svg, .png or .pdf file")
    with required_for("--figure"):
        import matplotlib  # noqa: F401


def _exit_stopped(finished: str) -> NoReturn:
    """Exit after Ctrl-C with a message that names the share that is `finished`."""
    echo_errors(f"stopped; {finished} are finished; run the same command to continue")
    raise Exit(130)


_Number = TypeVar("_Number", int, float)


def _parse_list(
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
    return _parse_list(
        "--seeds", text, int, f"integers from 0 to {2**32 - 1}", lambda seed: 0 <= seed < 2**32
    )


def _parse_percentages(text: str) -> list[int]:
    return _parse_list(
        "--percentages", text, int, "integers from 1 to 100", lambda number: 1 <= number <= 100
    )
