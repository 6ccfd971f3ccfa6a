"""The commands of the lab: look into a network, probe how long memories last, compare systems, tune
one.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from slotfill.cli.app import AsJson, ConfigName, Device, Overrides, RunPath
from slotfill.errors import UsageError
from slotfill.files import check_new_file, write_new_file
from slotfill.runs.device import resolve_device


def inspect(
    run: RunPath,
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="The text to read.")],
    layer: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only this layer's gates and memory.")
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this: forget, memory, weights, marginals, ...; again for more.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures as a web page.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write FILE anew where there is one.")
    ] = False,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Show what goes on in a run while it reads a sentence: gates, memory, attention, tags.

    Heat maps with a row for each token: in colours on a terminal, in characters elsewhere.
    """
    if html is not None:
        check_new_file(html, force=force)

    from slotfill.cli import display
    from slotfill.lab.inspect import html as heat_map_page
    from slotfill.lab.inspect.inspection import inspect
    from slotfill.runs.load import load_run

    found = inspect(load_run(run, resolve_device(device), "torch"), sentence).filter(
        layer=layer, names=gate or ()
    )
    if html is not None:
        write_new_file(html, heat_map_page.render_page(found, run.resolve().name))
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
    elif html is not None:
        typer.echo(f"{html}: {len(found.panels)} figures")
    else:
        display.print_heat_maps(found)


def compare(
    configs: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG",
            help="Built-in configs, YAML files or folders of them, as lab; KEY=VALUE is for all.",
        ),
    ],
    seeds: Annotated[
        str, typer.Option(metavar="N,N,...", help="The seeds to train each with.")
    ] = "1,2,3",
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A corpus to train all on, not each on its own; may be given again.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The folder of the run folders, OUT/CORPUS/NAME-seedN.")
    ] = Path("runs/compare"),
    jobs: Annotated[int, typer.Option(min=1, help="How many runs to train side by side.")] = 1,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers as JSON.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write these files anew where there are some.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Train configs with several seeds and compare them with the first: F1, size, speed,
    significance.

    What is trained already is not trained again, so the same command goes on where it was stopped.
    """
    words = [word for word in configs if "=" not in word or Path(word).exists()]
    overrides = [word for word in configs if word not in words]
    if not words:
        raise UsageError("no CONFIG given; the first is what the others are compared with")
    if any(override.partition("=")[0].strip() == "train.seed" for override in overrides):
        raise UsageError("train.seed is what --seeds sets; give --seeds alone")
    if data and any(override.startswith("data.path=") for override in overrides):
        raise UsageError("data.path is what --data sets; give one of them")
    files = [file for file in (markdown, json_file) if file is not None]
    for file in files:
        check_new_file(file, force=force)
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError(f"--markdown and --json are both {markdown}; give each a file of its own")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give the folder to put the run folders in")

    from slotfill.cli import display
    from slotfill.lab.compare import jobs as comparing
    from slotfill.lab.compare import report as comparison
    from slotfill.lab.compare import scheduler, tables

    chosen = comparing.plan(words, out, overrides=overrides, seeds=_seeds(seeds), data=data or ())
    there = sum(map(comparing.is_finished, chosen.jobs))
    typer.echo(f"{len(chosen.jobs)} runs" + (f", {there} of them there already" if there else ""))
    try:
        faults = scheduler.run_jobs(
            chosen,
            lambda job, text: typer.echo(f"{job.title}: {text}"),
            processes=jobs,
            device=resolve_device(device),
        )
    except scheduler.Stopped:
        there = sum(map(comparing.is_finished, chosen.jobs))
        typer.echo(
            f"slotfill: stopped; {there} of {len(chosen.jobs)} runs are finished; the same command"
            " goes on",
            err=True,
        )
        raise typer.Exit(130) from None
    report = comparison.summarize(chosen, faults, shlex.join(["slotfill", *sys.argv[1:]]))
    display.print_tables(tables.tables(report), tables.legend(report))
    if markdown:
        write_new_file(markdown, tables.markdown(report))
    if json_file:
        write_new_file(json_file, json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    for title, fault in faults.items():
        typer.echo(f"slotfill: {title}: {fault}", err=True)
    raise typer.Exit(1 if faults else 0)


def probe(
    cells: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CELL,CELL,...",
            help=(
                "As YAML takes them: gru, {name: elman, activation: relu}. Some telling ones if not"
                " given."
            ),
        ),
    ] = None,
    distances: Annotated[
        str,
        typer.Option(metavar="N,N,...", help="How many tokens before the city the verb stands."),
    ] = "1,2,5,10,20,50,100",
    seeds: Annotated[
        str, typer.Option(metavar="N,N,...", help="The seeds to train each with.")
    ] = "1,2,3",
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = 400,
    hidden_size: Annotated[int, typer.Option(min=1, help="Numbers in a cell's output.")] = 32,
    gain: Annotated[
        str,
        typer.Option(
            metavar="X,X,...", help="Multiply recurrent weights by these to see gradients explode."
        ),
    ] = "2,4",
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Train one network on all distances, not one on each.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it: a file .svg, .png or .pdf.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Draw FILE anew where there is one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how long each cell's memory lasts: right answers against distance, gradients k tokens
    back.

    In each sentence the verb alone, N tokens earlier, says whether the city is an origin or a
    destination.
    """
    chosen = (
        _numbers("--distances", distances, int),
        _seeds(seeds),
        _numbers("--gain", gain, float),
    )
    drawable = figure is None or _can_draw(figure, force)

    from slotfill.cli import display
    from slotfill.cli.progress import probe_progress
    from slotfill.lab.probe import probe as probing

    named = probing.read_cells(cells or probing.DEFAULT_CELLS)
    settings = probing.ProbeSettings(steps, hidden_size, chosen[1], chosen[0], chosen[2], mixed)
    resolve_device("cpu")
    with probe_progress() as report:
        found = probing.probe(named, settings, report)
    if as_json:
        typer.echo(json.dumps(probing.to_json(named, settings, found), ensure_ascii=False))
    else:
        legend = (
            f"{max(settings.distances)}, x N: recurrent weights times N; trained: on the longest"
            " distance."
        )
        display.print_tables(probing.tables(found), [legend])
    if not drawable:
        raise typer.Exit(2)
    if figure is not None:
        from slotfill.lab.probe import figures

        write_new_file(figure, figures.render(figures.plot_probe(found), figure.suffix))


def tune(
    config: ConfigName,
    overrides: Overrides = None,
    trials: Annotated[
        int, typer.Option(min=1, help="How many trials the study is to have in all.")
    ] = 20,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="K",
            help="Train each with K seeds, from train.seed on; its F1 is the mean.",
        ),
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Short for train.seed=N.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the study; tuned/NAME if not given.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="What holds the trials, for several machines; OUT/study.journal if not given.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Search the ranges under `tune:` of a config for the best F1 on valid; test is never read.

    The same command goes on with its study, beside another or on another machine too. Ctrl-C keeps
    the trials that have ended.
    """
    if find_spec("optuna") is None:
        raise UsageError("tuning needs Optuna: pip install 'slotfill[tune]'")

    from slotfill.cli import display
    from slotfill.cli.progress import tuning_progress
    from slotfill.lab.tune import report as tuned
    from slotfill.lab.tune import search as tuning

    seeded = [] if seed is None else [f"train.seed={seed}"]
    search = tuning.plan(config, [*(overrides or []), *seeded], seeds=seeds, out=out)
    chosen = resolve_device(device)
    study = tuning.open_study(search, storage)
    stopped = False
    with tuning_progress(stderr=as_json) as report:
        try:
            tuning.run_trials(search, study, trials, report, device=chosen)
        except KeyboardInterrupt:
            stopped = True
    found = tuned.summarize(search, study)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        display.print_tables(tuned.tables(found), tuned.legend(found))
        if found.best:
            typer.echo(
                f"The best config is {search.best_path}. Next:\n  slotfill train"
                f" {shlex.quote(str(search.best_path))}"
            )
    if stopped:
        ended = len(found.trials)
        typer.echo(
            f"slotfill: stopped; {ended} of {trials} trials have ended; the same command goes on",
            err=True,
        )
        raise typer.Exit(130)
    if not found.best and not found.running:
        typer.echo("slotfill: no trial has come to its end", err=True)
        raise typer.Exit(1)


def _can_draw(path: Path, force: bool) -> bool:
    """Return whether a figure can be written to `path` later on, having said so where the library
    is not there.

    Raises UsageError where the path itself is wrong.
    """
    if path.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise UsageError(f"--figure {path}: a figure is a file that ends in .svg, .png or .pdf")
    check_new_file(path, force=force)
    there = find_spec("matplotlib") is not None
    if not there:
        typer.echo(
            f"slotfill: {path}: figures need matplotlib: pip install 'slotfill[plots]'", err=True
        )
    return there


_Number = TypeVar("_Number", int, float)


def _numbers(option: str, text: str, kind: type[_Number]) -> list[_Number]:
    """Return the numbers above 0 of `1,2,5`, in order and each once."""
    try:
        numbers = sorted({kind(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < (10_001 if kind is int else inf) for number in numbers):
        number = "whole numbers from 1 to 10000" if kind is int else "numbers above 0"
        raise UsageError(f"{option} {text}: must be {number} parted by commas, as 1,2,5")
    return numbers


def _seeds(text: str) -> list[int]:
    """Return the numbers of `1,2,3`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) < 2**32 for word in words) or len(
        {*map(int, words)}
    ) < len(words):
        raise UsageError(
            f"--seeds {text}: must be whole numbers parted by commas, each once, as 1,2,3"
        )
    return [int(word) for word in words]
