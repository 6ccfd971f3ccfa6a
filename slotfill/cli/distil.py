"""The command distil: train a small network on what teachers predict."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from slotfill.cli.app import Device, Seed, Trust, split_overrides
from slotfill.cli.runs import assists, train_into
from slotfill.errors import UsageError


def distil(
    words: Annotated[
        list[str],
        Argument(
            metavar="TEACHER | KEY=VALUE",
            help=(
                "Run folders, packed runs or JSON lines of predictions, whose mean is learned; and"
                " config keys of the student to override."
            ),
        ),
    ],
    text: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Unlabelled sentences, which the teachers label: one a line, or in any format.",
        ),
    ] = None,
    augment: Annotated[
        int | None,
        Option(
            min=0,
            metavar="N",
            help="Also make N sentences of the training sentences by exchanging slot values.",
            show_default="0",
        ),
    ] = None,
    config: Annotated[
        str | None,
        Option(
            metavar="CONFIG",
            help="The config of the student: a built-in one or a YAML file.",
            show_default="a small network on the data of the first teacher",
        ),
    ] = None,
    out: Annotated[
        Path | None, Option(help="The run folder to write.", show_default="runs/TEACHER-student")
    ] = None,
    seed: Seed = None,
    device: Device = "auto",
    force: Annotated[bool, Option("--force", help="Replace the run folder if it exists.")] = False,
    trust: Trust = False,
) -> None:
    """Train a small, fast network on the predictions of large ones, and save it as a run folder.

    The student learns the labels of its training sentences and the probabilities that the teachers
    give their tags and intents. Ctrl-C stops training and keeps the best epoch so far; train
    --resume continues it.
    """
    from slotfill.runs.distil import student_config
    from slotfill.runs.folder import RunFolder

    if assists(device):
        return
    teachers, overrides = split_overrides(words)
    if not teachers:
        raise UsageError("no TEACHER given; give a run folder or JSON lines of predictions")
    if seed is not None:
        overrides.append(f"train.seed={seed}")
    distillation: dict[str, Any] = {"teachers": teachers}
    if text is not None:
        distillation["text"] = str(text)
    if augment is not None:
        distillation["augment"] = augment
    name, loaded = student_config(config, overrides, distillation)
    train_into(RunFolder(out or Path("runs") / name, force=force), loaded, device)
