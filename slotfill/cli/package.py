"""Commands that take a run elsewhere: export, pack, card, push."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from slotfill.cli.app import Force, RunPath, Trust
from slotfill.cli.output import echo, write_data
from slotfill.errors import UsageError
from slotfill.files import check_new_file, real_path, write_atomically
from slotfill.runs.device import resolve_device


def export(
    run: RunPath,
    quantize: Annotated[
        Literal["none", "int8"],
        Option(
            help="Store weights as 8-bit integers: smaller and faster; the change of F1 is printed."
        ),
    ] = "none",
    rank: Annotated[
        int | None,
        Option(
            min=1, help="Reduce the input weights of the first recurrent layer to this rank (SVD)."
        ),
    ] = None,
    trust: Trust = False,
) -> None:
    """Export a run to ONNX again; train does it once, and predict then needs no torch."""
    from slotfill.runs.export import export_run

    resolve_device("cpu")
    paths, scores = export_run(run, quantize, rank)
    for path in paths:
        echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    for split, (before, after) in scores.items():
        echo(f"{split}: F1 {after.overall.f1:.2f}, before {before.overall.f1:.2f}")
        if (new := after.intent) and (old := before.intent):
            echo(f"{split}: intent accuracy {new.accuracy:.2f}%, before {old.accuracy:.2f}%")
            echo(
                f"{split}: frame accuracy {new.frame_accuracy:.2f}%, before"
                f" {old.frame_accuracy:.2f}%"
            )
    if (quantize != "none" or rank is not None) and not scores:
        echo("The sentences of the run no longer exist, so F1 was not measured.")


def pack(
    run: RunPath,
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The file to write.", show_default="RUN.zip")
    ] = None,
    wheel: Annotated[
        bool, Option("--wheel", help="Write a Python package: import NAME, then NAME.load().")
    ] = False,
    name: Annotated[
        str | None, Option(help="With --wheel: the name of the package.", show_default="RUN")
    ] = None,
    version: Annotated[
        str | None,
        Option(help="With --wheel: the version of the package.", show_default="1.0.0"),
    ] = None,
    force: Force = False,
) -> None:
    """Write a run as one file, which predict and evaluate open like its folder.

    The file is a zip archive of the config, the vocabulary, the exported network, the calibration
    and a model card. With --wheel it is a Python package that needs no torch.
    """
    if not wheel and not (name is None and version is None):
        raise UsageError("--name and --version are of a package; add --wheel")
    from slotfill.runs.pack import pack_run, pack_wheel, wheel_name

    if not wheel:
        if run.is_file():
            raise UsageError(f"{run}: is one file already; copy it, or add --wheel for a package")
        out = out or Path(f"{real_path(run).name}.zip")
        check_new_file(out, force=force)
        if out.suffix.lower() != ".zip":
            hint = "; --wheel writes a package" if out.suffix.lower() == ".whl" else ""
            raise UsageError(f"{out}: must end in .zip, as {out.with_suffix('.zip')}{hint}")
        content = pack_run(run)
    else:
        if name is None:
            name = real_path(run).stem if run.is_file() else real_path(run).name
        version = "1.0.0" if version is None else version
        expected = wheel_name(name, version)
        out = out or Path(expected)
        check_new_file(out, force=force)
        if out.name != expected:
            raise UsageError(
                f"{out}: pip needs the name {expected} for this package, as"
                f" {out.with_name(expected)}; --name and --version change it"
            )
        content = pack_wheel(run, name, version)
    write_atomically(out, content)
    echo(f"{out}: {len(content) / 1e6:.1f} MB")


def card(
    run: RunPath,
    out: Annotated[
        Path | None,
        Option(metavar="FILE", help="The file to write.", show_default="standard output"),
    ] = None,
    force: Force = False,
) -> None:
    """Write the model card of a run: its data, scores and limits, as Markdown.

    The front matter is the model-index of the Hugging Face Hub.
    """
    from slotfill.runs.card import render_card

    if out is None:
        write_data(render_card(run))
        return
    check_new_file(out, force=force)
    write_atomically(out, render_card(run))
    echo(f"{out}: the model card of {run}")


def push(
    run: RunPath,
    repository: Annotated[
        str, Argument(metavar="REPO", help="The repository, as USER/NAME; a new one is made.")
    ],
    private: Annotated[bool, Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload a run to the Hugging Face Hub, with its model card.

    It is then a run called hf://USER/NAME. To log in, use the command hf auth login.
    """
    from slotfill.runs.hub import upload_run
    from slotfill.runs.pack import packed_files

    address = upload_run(packed_files(run), repository, private=private)
    echo(f"{address}: has the run; load it with: slotfill predict hf://{repository}")
