"""The commands that people work with: they parse, print and show progress; the work is done by
plain functions.

Nothing heavy is imported until a command needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal

import typer

import slotfill.cli.lab  # noqa: F401 - adds its commands
from slotfill.cli.app import (
    AsJson,
    ConfigName,
    Device,
    Engine,
    Overrides,
    RunPath,
    app,
    open_run,
    print_errors,
)
from slotfill.errors import ConfigError, DataError, SlotfillError, UsageError, did_you_mean
from slotfill.runs.device import resolve_device
from slotfill.version import __version__


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slotfill {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def train(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE", help="A built-in config or a YAML file; taipei if not given."
        ),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder to write; runs/NAME if not given.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Short for train.seed=N.")
    ] = None,
    device: Device = "auto",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run folder if there is one.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with a run that was stopped."),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say at the end where the time went.")
    ] = False,
) -> None:
    """Train a tagger and save it as a run folder.

    Without a name it trains on the built-in Taipei corpus. Ctrl-C ends it early: the best epoch so
    far is kept.
    """
    from slotfill.cli import display
    from slotfill.config.recipes import load_config, located

    if config is not None and "=" in config and not Path(config).exists():
        config, overrides = "taipei", [config, *(overrides or [])]
    settings = [*(overrides or []), *([] if seed is None else [f"train.seed={seed}"])]
    if resume is not None:
        if config is not None or overrides or out or force or seed is not None:
            raise UsageError(
                "--resume goes on with the run as it was: give it nothing but --device"
            )
        from slotfill.runs.folder import RunFolder

        folder, checked = RunFolder.resume(resume)
    else:
        name, checked = load_config(config or "taipei", settings, need_data=True)
        if checked.tune:
            typer.echo(
                "slotfill: what stands under tune: is for slotfill tune; this trains with the rest",
                err=True,
            )
        from slotfill.runs.folder import RunFolder

        folder = RunFolder(out or Path("runs") / name, force=force)
    with display.training(sys.stdout) as report:
        from slotfill.runs import train as training

        try:
            outcome = training.train(
                checked,
                folder,
                report,
                covered=display.show_coverage,
                device=resolve_device(device),
                resume=resume is not None,
                profile=profile,
            )
        except ConfigError as fault:  # What shows only when the network is built.
            raise fault if resume else located(config or "taipei", settings, fault.faults) from None
    if outcome.times is not None:
        display.show_times(outcome.times)
    display.show_outcome(outcome)


@app.command()
def evaluate(
    run: RunPath,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="How they are written, if not as the run's: data.scheme=bioes"
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="A split of the run's own data.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Other labelled sentences: a file, or a split's folder.")
    ] = None,
    device: Device = "auto",
    engine: Engine = "auto",
    as_json: AsJson = False,
    min_f1: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="End with exit code 1 where F1 is below this, in percent."
        ),
    ] = 0.0,
) -> None:
    """Score a run on labelled sentences: slot precision, recall, F1 and more.

    Without --split or --data it is the test split, or valid where there is no test.
    """
    from slotfill.cli import display
    from slotfill.data.splits import evaluation_split
    from slotfill.runs.evaluate import evaluate_run

    if split is not None and data is not None:
        raise UsageError(
            "--split is of the run's own data and --data is other data: give one of them"
        )
    loaded = open_run(run, device, engine)
    name = str(data) if data else split or evaluation_split(loaded.config.data)
    result = evaluate_run(loaded, split=split, path=data, overrides=overrides or [])
    if as_json:
        typer.echo(json.dumps(result.to_json(), ensure_ascii=False, indent=1))
    else:
        display.show_score(result, name)
    if result.overall.f1 < min_f1:
        typer.echo(f"slotfill: F1 {result.overall.f1:.2f} is below --min-f1 {min_f1:g}", err=True)
        raise typer.Exit(1)


@app.command()
def predict(
    run: RunPath,
    sentences: Annotated[
        list[str] | None, typer.Argument(metavar="SENTENCE", help="Texts to tag.")
    ] = None,
    input: Annotated[
        Path | None, typer.Option(help="A text file, one sentence a line; - for standard input.")
    ] = None,
    format: Annotated[
        Literal["text", "jsonl", "conll", "brackets"] | None,
        typer.Option(
            help="How to write; text (in colours) on a terminal and jsonl elsewhere if not given."
        ),
    ] = None,
    device: Device = "auto",
    engine: Engine = "auto",
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Processes that share the sentences, which pays from some ten thousand on."
        ),
    ] = 1,
) -> None:
    """Fill the slots of sentences from the command line, a file or standard input.

    An answer for each line, in order, empty ones included; JSON lines count characters from 0,
    `end` excluded.
    """
    from slotfill.runs.predict import Predictor, render_parallel

    if sentences and input:
        raise UsageError("give sentences or --input, not both")
    if jobs > 1 and device == "cuda":
        raise UsageError("--jobs: several processes compute on the CPU; leave --device out")
    predictor = Predictor(open_run(run, device, engine))
    texts = iter(sentences) if sentences else _texts(input)
    chosen = format or ("text" if sys.stdout.isatty() else "jsonl")
    if chosen == "text" and sys.stdout.isatty():
        from slotfill.cli import display

        for group in predictor.stream(texts):
            display.write_marked(group, predictor.run.vocab.slot_names)
        return
    chosen = "brackets" if chosen == "text" else chosen
    many = jobs > 1
    for text in (
        render_parallel(run, texts, chosen, engine, jobs)
        if many
        else predictor.render_stream(texts, chosen)
    ):
        sys.stdout.write(text)
        sys.stdout.flush()


@app.command()
def export(
    run: RunPath,
    quantize: Annotated[
        Literal["none", "int8"],
        typer.Option(
            help=(
                "Hold weights in 8 bits: a smaller and faster model; what it costs in F1 is"
                " printed."
            )
        ),
    ] = "none",
    rank: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=(
                "Let the first recurrent layer read so few numbers of a token, by its singular"
                " values."
            ),
        ),
    ] = None,
) -> None:
    """Write a run's network for ONNX Runtime, so that predict and evaluate need no torch; training
    ends with it.
    """
    from slotfill.runs.export import export_run

    resolve_device("cpu")
    exported = export_run(run, quantize, rank)
    for path in exported.paths:
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    for split, (before, after) in exported.scores.items():
        typer.echo(f"{split}: F1 {after.overall.f1:.2f}, {before.overall.f1:.2f} before")
        if after.intent and before.intent:
            was, now = before.intent, after.intent
            typer.echo(f"{split}: intents right {now.accuracy:.2f}%, {was.accuracy:.2f}% before")
            typer.echo(
                f"{split}: whole frames {now.frame_accuracy:.2f}%, {was.frame_accuracy:.2f}% before"
            )
    if (quantize != "none" or rank is not None) and not exported.scores:
        typer.echo("The run's sentences are not there any more, so F1 was not measured.")


@app.command("list")
def list_parts(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="cells, encoders, ...; all if not given.")
    ] = None,
) -> None:
    """List the parts a config can name: each one's name, what it is, and its source."""
    from slotfill.cli import display
    from slotfill.config.recipes import builtin_config_names, config_summary
    from slotfill.config.registry import REGISTRIES

    tables = {
        f"{registry.kind}s": [
            (name, " ".join(filter(None, (part.summary, part.export))), part.source)
            for name in registry.names()
            for part in [registry.part(name)]
        ]
        for registry in REGISTRIES.values()
    }
    tables["configs"] = [(name, config_summary(name), "") for name in builtin_config_names()]
    if kind is not None:
        plural = f"{kind.removesuffix('s')}s"
        if plural not in tables:
            raise UsageError(f"no kind of part '{kind}'{did_you_mean(kind, tables)}")
        tables = {plural: tables[plural]}
    display.show_parts(tables)


@app.command()
def show(config: ConfigName, overrides: Overrides = None) -> None:
    """Print a config complete, with every default, as it would run."""
    from slotfill.config.recipes import load_config

    typer.echo(load_config(config, overrides or [])[1].to_yaml(), nl=False)


@app.command()
def check(
    configs: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG",
            help="Built-in configs, YAML files or folders of them; KEY=VALUE is for all.",
        ),
    ],
) -> None:
    """Check configs and the sentences they name, without training."""
    from slotfill.config.recipes import expand_configs, load_config, located
    from slotfill.data.sentence import intent_names
    from slotfill.data.splits import read_split, split_names
    from slotfill.model.build import check_buildable

    overrides = [word for word in configs if "=" in word and not Path(word).exists()]
    worst = 0
    for config in [
        config for word in configs if word not in overrides for config in expand_configs(word)
    ]:
        try:
            checked = load_config(config, overrides, need_data=True)[1]
            check_buildable(checked)
            data = checked.data
            for split in split_names(data):
                reading = read_split(data, split, intents=bool(checked.intent))
                slots = sum(len(sentence.slots or ()) for sentence in reading.sentences)
                repaired = (
                    f", {reading.repaired_tags} tags repaired" if reading.repaired_tags else ""
                )
                intents = {
                    name for sentence in reading.sentences for name in intent_names(sentence.intent)
                }
                several = f", {len(intents)} intents" if checked.intent else ""
                typer.echo(
                    f"{config}: {split}: {len(reading.sentences)} sentences, {slots}"
                    f" slots{several}{repaired}"
                )
            typer.echo(f"{config}: ok")
        except SlotfillError as fault:
            print_errors(
                located(config, overrides, fault.faults)
                if isinstance(fault, ConfigError)
                else fault
            )
            worst = max(worst, fault.exit_code)
    raise typer.Exit(worst)


@app.command()
def schema() -> None:
    """Print the JSON Schema of configs, for editors that complete and check YAML."""
    from slotfill.config.json_schema import schema

    typer.echo(json.dumps(schema(), indent=1, ensure_ascii=False))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A file of sentences, or a folder with seq.in.")],
    target: Annotated[
        Path, typer.Argument(help="The file (or folder) to write; its name tells the format.")
    ],
    scheme: Annotated[str, typer.Option(help="The tag scheme of the source.")] = "iob2",
    to_scheme: Annotated[str, typer.Option(help="The tag scheme of the target.")] = "iob2",
    tokenizer: Annotated[
        str, typer.Option(help="How text that is not yet tokens is cut.")
    ] = "words",
    from_format: Annotated[
        str | None, typer.Option("--from", help="The format of the source.")
    ] = None,
    to_format: Annotated[str | None, typer.Option("--to", help="The format of the target.")] = None,
) -> None:
    """Write sentences anew in another format or tag scheme."""
    from slotfill.data.corpus import read_sentences, write_sentences
    from slotfill.data.schemes import all_tags

    for given in (scheme, to_scheme):
        all_tags([], given)
    try:
        reading = read_sentences(
            source,
            format=from_format,
            scheme=scheme,
            tokenizer=tokenizer,
            keep_tokens=True,
            labelled=False,
        )
    except DataError as fault:
        # The mends that messages name are keys of a config; here they are options.
        text = re.sub(r"set data\.(scheme|tokenizer):", r"give --\1", str(fault))
        raise DataError(text.replace("set data.format", "give --from")) from None
    write_sentences(target, reading.sentences, format=to_format, scheme=to_scheme)
    repaired = f", {reading.repaired_tags} tags repaired" if reading.repaired_tags else ""
    typer.echo(f"{target}: {len(reading.sentences)} sentences{repaired}")


def _texts(path: Path | None) -> Iterator[str]:
    """The lines of a file, or of standard input."""
    from slotfill.files import decode_lines, read_lines

    if path is None or str(path) == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed; give sentences or --input FILE")
        if sys.stdin.isatty():
            typer.echo("A sentence a line; Ctrl-D ends.", err=True)
        # Not sys.stdin, which Python closes at its end, and cannot while a thread is waiting for a
        # line.
        numbered = decode_lines(os.fdopen(0, "rb", closefd=False), "standard input")
    else:
        numbered = read_lines(path)
    return (text for _, text in numbered)


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):
        # Sentences are UTF-8 in files and pipes whatever the locale says; a terminal shows what it
        # can.
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")
    app()
