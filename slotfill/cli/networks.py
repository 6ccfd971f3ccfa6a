"""Commands that look into networks: inspect, probe."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import math
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from slotfill.cli.app import (
    AsJson,
    Device,
    Force,
    RunPath,
    Seeds,
    Trust,
    check_figure,
    parse_list,
    parse_seeds,
)
from slotfill.cli.output import echo, write_json
from slotfill.errors import format_count
from slotfill.files import check_new_file, check_not_input, real_path, write_atomically
from slotfill.runs.device import resolve_device


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
    against: Annotated[
        str | None,
        Option(metavar="SENTENCE", help="Show the differences from this text, token by token."),
    ] = None,
    html: Annotated[
        Path | None, Option(metavar="FILE", help="Write the heat maps as an HTML page.")
    ] = None,
    figure: Annotated[
        Path | None, Option(metavar="FILE", help="Write the heat maps as .svg, .png or .pdf.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Show the gates, hidden states, attention and tags of a run on one sentence.

    Prints heat maps with a row for each token: in colour on a terminal, as characters elsewhere.
    """
    files = [file for file in (html, figure) if file is not None]
    for file in files:
        check_new_file(file, force=force)
    if figure is not None:
        check_figure(figure)

    from slotfill.cli import display
    from slotfill.lab.inspect import html as heat_map_page
    from slotfill.lab.inspect.inspection import inspect
    from slotfill.runs.load import load_run
    from slotfill.runs.manifest import FILES

    for file in files:
        check_not_input(file, [run / name for name in FILES])
    loaded = load_run(run, resolve_device(device), "torch")
    inspection = inspect(loaded, sentence)
    if against is not None:
        inspection = inspection.subtract(inspect(loaded, against))
    inspection = inspection.filter(layer=layer, names=gate or ())
    if html is not None:
        write_atomically(html, heat_map_page.render_page(inspection, real_path(run).name))
    if figure is not None:
        from slotfill.lab.inspect.figure import plot_inspection
        from slotfill.lab.probe.figures import render

        write_atomically(figure, render(plot_inspection(inspection), figure.suffix))
    if as_json:
        write_json(inspection.to_json())
    elif files:
        for file in files:
            echo(f"{file}: {format_count(len(inspection.panels), 'figure')}")
    else:
        display.print_heat_maps(inspection)


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
    steps: Annotated[int, Option(min=1, max=10**6, help="Training steps of each network.")] = 400,
    hidden_size: Annotated[int, Option(min=1, max=10_000, help="Hidden size of the cells.")] = 32,
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
    tokens = parse_list(
        "--distances", distances, int, "integers from 1 to 10000", lambda n: 1 <= n <= 10_000
    )
    factors = parse_list("--gain", gain, float, "numbers above 0", lambda x: 0 < x < math.inf)
    training = (steps, hidden_size, parse_seeds(seeds), sorted(tokens), sorted(factors), mixed)
    if figure is not None:
        check_new_file(figure, force=force)
        check_figure(figure)

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
