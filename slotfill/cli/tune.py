"""The command tune."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from slotfill.cli.app import (
    AsJson,
    Config,
    Device,
    Overrides,
    Seed,
    Trust,
    exit_stopped,
    one_config,
)
from slotfill.cli.output import echo, echo_errors, write_json
from slotfill.extras import required_for
from slotfill.runs.device import resolve_device


def tune(
    config: Config = None,
    overrides: Overrides = None,
    trials: Annotated[
        int, Option(min=1, max=10**6, help="Total number of trials of the study.")
    ] = 20,
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
        exit_stopped(f"{len(result.trials)} of {trials} trials")
    if not result.best and not result.running:
        echo_errors("no trial finished")
        raise Exit(1)
