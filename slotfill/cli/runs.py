"""Commands on runs: train, evaluate, threshold, values."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import json
import os
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from slotfill.cli.app import (
    AsJson,
    Config,
    ConfigName,
    Device,
    Engine,
    IntentThreshold,
    Overrides,
    RunPath,
    Seed,
    Threshold,
    Trust,
    check_number,
    one_config,
    parse_run,
    parse_thresholds,
)
from slotfill.cli.output import echo, echo_errors, write_data, write_json
from slotfill.errors import UsageError, format_count
from slotfill.files import check_new_file, check_not_input, real_path, write_atomically
from slotfill.runs.device import resolve_device

if TYPE_CHECKING:
    from slotfill.config import models
    from slotfill.runs.folder import RunFolder


def train(
    config: Config = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, Option(help="The run folder to write.", show_default="runs/NAME")
    ] = None,
    seed: Seed = None,
    device: Device = "auto",
    force: Annotated[bool, Option("--force", help="Replace the run folder if it exists.")] = False,
    resume: Annotated[
        Path | None,
        Option(metavar="RUN", help="Continue a run that was stopped, with its own config."),
    ] = None,
    from_run: Annotated[
        Path | None,
        Option(
            "--from",
            metavar="RUN",
            parser=parse_run,
            help="Start from the weights of this run, on new sentences and some of its own.",
        ),
    ] = None,
    profile: Annotated[
        bool, Option("--profile", help="Print at the end where the time was spent.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Train a tagger and save it as a run folder.

    Without CONFIG, trains on the built-in Taipei corpus. Ctrl-C stops training and keeps the best
    epoch so far.
    """
    from slotfill.config.builtin import load_config
    from slotfill.runs.continuation import load_with_base
    from slotfill.runs.environment import STARTED_BY
    from slotfill.runs.folder import RunFolder

    if os.environ.get(STARTED_BY):
        Thread(target=_exit_with_standard_input, daemon=True).start()
    if assists(device):
        return
    name, settings = one_config(config, overrides)
    if seed is not None:
        settings.append(f"train.seed={seed}")
    if resume is not None:
        if name is not None or settings or out or force or from_run:
            raise UsageError(
                "--resume continues a run as it is; omit CONFIG, KEY=VALUE, --out, --seed, --force"
                " and --from"
            )
        folder = RunFolder(resume, resume=True)
        if folder.complete():
            echo(f"{folder.out}: the run was trained to its end, and is complete now")
            return
        loaded = folder.config
    else:
        if from_run is not None:
            settings.append(f"train.from_run={json.dumps(str(from_run))}")
        run_name, loaded, lost = load_with_base(
            lambda base: load_config(name, settings, need_data=True, base=base), from_run
        )
        for each in lost:
            echo(f"warning: {each}")
        if loaded.tune:
            echo_errors("the search space under tune: is ignored by train")
        folder = RunFolder(out or Path("runs") / run_name, force=force)
    train_into(folder, loaded, device, profile=profile)


def _exit_with_standard_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def assists(device: str) -> bool:
    """Train with the process of rank 0, if `torchrun` has started this one beside it."""
    from slotfill.training.launch import torchrun_rank

    if torchrun_rank() == 0:
        return False
    from slotfill.runs import train as training

    training.assist(resolve_device(device))
    return True


def train_into(
    folder: "RunFolder", config: "models.Config", device: str, *, profile: bool = False
) -> None:
    """Train `config` into a run folder, with its progress, and print the result."""
    from slotfill.cli import display
    from slotfill.cli.progress import training_progress

    with training_progress() as report, config.locate_errors():
        from slotfill.runs import train as training

        result = training.train(
            config,
            folder,
            report,
            on_finding=lambda finding: echo(f"warning: {finding}"),
            on_coverage=partial(display.print_coverage, is_default=config.embedding is None),
            device=resolve_device(device),
            profile=profile,
        )
    if result.times is not None:
        display.print_times(result.times)
    display.print_result(result)


def evaluate(
    run: RunPath,
    overrides: Annotated[
        list[str] | None,
        Argument(
            metavar="KEY=VALUE",
            help="How the sentences are written if not as the run's, e.g. data.scheme=bioes.",
        ),
    ] = None,
    split: Annotated[
        str | None, Option(help="A split of the run's own data.", show_default="test, else valid")
    ] = None,
    data: Annotated[
        Path | None, Option(help="Other labelled sentences: a file, or the folder of a split.")
    ] = None,
    device: Device = "auto",
    engine: Engine = "auto",
    as_json: AsJson = False,
    threshold: Threshold = None,
    intent_threshold: IntentThreshold = None,
    min_f1: Annotated[
        float,
        Option(
            min=0,
            max=100,
            callback=check_number,
            help="Exit with code 1 if F1, in percent, is below this.",
        ),
    ] = 0.0,
    report: Annotated[
        Path | None,
        Option(metavar="FILE", help="Write an HTML page on the scores and every error."),
    ] = None,
    errors: Annotated[
        Path | None, Option(metavar="FILE", help="Write the errors as JSON lines.")
    ] = None,
    force: Annotated[
        bool, Option("--force", help="Replace the files of --report and --errors if they exist.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Evaluate a run on labelled sentences: precision, recall and F1 of each slot, and more.

    Of a generator, the perplexity.
    """
    files = [file for file in (report, errors) if file is not None]
    for file in files:
        check_new_file(file, force=force)
    if len({real_path(file) for file in files}) < len(files):
        raise UsageError(f"--report and --errors are both {report}; give two files")

    from slotfill.cli import display
    from slotfill.data.findings import find_left_out
    from slotfill.evaluation.evaluate import evaluate as score
    from slotfill.evaluation.likelihood import measure_likelihood
    from slotfill.runs.evaluate import analyze_run, input_files, name_sentences, read_labelled
    from slotfill.runs.load import is_generator, load_generator, load_run

    if split is not None and data is not None:
        raise UsageError("--split names a split of the run's own data, --data other data: give one")
    if 0 < min_f1 <= 1:
        raise UsageError(
            f"--min-f1 {min_f1:g}: F1 is in percent; for {min_f1:g} give {min_f1 * 100:g}"
        )
    if is_generator(run):
        options = {
            "--threshold": threshold,
            "--intent-threshold": intent_threshold,
            "--min-f1": min_f1,
            "--report": report,
            "--errors": errors,
            "--engine onnx": engine == "onnx",
        }
        if given := next((option for option, value in options.items() if value), None):
            raise UsageError(
                f"{given} applies to taggers; {run} is a generator, of which evaluate reports the"
                " perplexity"
            )
        generator = load_generator(run, device)
        name = name_sentences(generator, split, data, overrides or [])
        reading = read_labelled(generator, split=split, path=data, overrides=overrides or [])
        likelihood = measure_likelihood(generator.generator, reading.sentences)
        if as_json:
            write_json(likelihood.to_json(), indent=1)
        else:
            display.print_likelihood(likelihood, name)
        return
    loaded = load_run(run, device, engine)
    general, by_slot = parse_thresholds(threshold)
    loaded.set_thresholds(threshold=general, thresholds=by_slot, intent_threshold=intent_threshold)
    name = name_sentences(loaded, split, data, overrides or [])
    reading = read_labelled(loaded, split=split, path=data, overrides=overrides or [])
    sentences = reading.sentences
    for file in files:
        check_not_input(file, input_files(loaded, sentences, data))
    for finding in find_left_out({name: reading}):
        echo(f"warning: {finding}", err=as_json)
    result = score(loaded.engine, loaded.vocab, sentences, loaded.calibration)
    if files:
        analysis = analyze_run(loaded, sentences)
    if report is not None:
        from slotfill.lab.report.page import render_page

        write_atomically(report, render_page(loaded, name, result, analysis))
    if errors is not None:
        rows = [row for wrong in analysis.wrong for row in wrong.to_json()]
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(errors, "".join(lines))
    if as_json:
        write_json(result.to_json(), indent=1)
    else:
        display.print_scores(result, name)
        for file in files:
            echo(f"{file}: {format_count(len(analysis.wrong), 'sentence')} with errors")
    if result.overall.f1 < min_f1:
        echo_errors(f"F1 {result.overall.f1:.2f} is below --min-f1 {min_f1:g}")
        raise Exit(1)


def generate(
    run: RunPath,
    sentences: Annotated[int, Option(min=1, max=1_000_000, help="How many sentences to write.")],
    seed: Annotated[int, Option(min=0, max=2**32 - 1, help="Random seed.")] = 1,
    out: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="The new file to write; its suffix selects the format.",
            show_default="standard output",
        ),
    ] = None,
    format: Annotated[
        str | None,
        Option(
            help="Format of the output, as for convert --to.",
            show_default="by suffix, else brackets",
        ),
    ] = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Write new labelled sentences that a generator samples, all different.

    The run is of a config with a generator, as `generator: recurrent`. Malformed samples and
    copies of sentences of train and valid are left out.
    """
    from slotfill.cli.configs import parse_format
    from slotfill.data.corpus import write_sentences
    from slotfill.data.detection import build_format, format_from_suffix
    from slotfill.runs.generate import generate as sample
    from slotfill.runs.generate import read_labelled
    from slotfill.runs.load import load_generator

    part = parse_format(format)
    if out is None or not format_from_suffix(out):
        part = part or "brackets"
    if out is None:
        writer = build_format(Path("generated"), part)
        writer.check_printable()
    elif out.exists():
        raise UsageError(f"{out}: exists, and nothing is overwritten; choose another --out")
    loaded = load_generator(run, device)
    labelled = read_labelled(loaded)
    if labelled is None:
        echo_errors("the training sentences are gone, so copies of them are not left out")
    result = sample(loaded, sentences, seed, labelled or ())
    if out is None:
        for text in writer.join(writer.render(s, scheme="iob2") for s in result.sentences):
            write_data(text)
    else:
        write_sentences(out, result.sentences, format=part)
    echo(
        f"{out or 'standard output'}: {format_count(len(result.sentences), 'sentence')} of"
        f" {format_count(result.samples, 'sample')}; left out: {result.malformed:,} malformed,"
        f" {result.copies:,} ({result.copies / result.samples:.0%}) copied from train or valid,"
        f" {result.repeated:,} repeated",
        err=out is None,
    )
    if len(result.sentences) < sentences:
        echo_errors(
            f"{len(result.sentences):,} of {sentences:,} sentences are written, since few samples"
            " are new"
        )


def threshold(
    run: RunPath,
    precision: Annotated[
        float,
        Option(
            min=0,
            max=1,
            callback=check_number,
            help="The precision that what is left must have on valid.",
        ),
    ],
    per_slot: Annotated[
        bool, Option("--per-slot", help="Also find one for each slot with enough predictions.")
    ] = False,
    intents: Annotated[
        bool, Option("--intents", help="Find the threshold of intents, not that of slots.")
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show what is found, and store nothing in the run.")
    ] = False,
    device: Device = "auto",
    engine: Engine = "auto",
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Find the lowest confidence at which slots reach a precision on valid, and store it.

    The run then leaves out slots below it; thresholds of single slots are kept. Shares are in
    percent: coverage is the share of the predictions that are left. --threshold 0 of predict
    and evaluate turns thresholds off.
    """
    if intents and per_slot:
        raise UsageError("--per-slot is of slots, --intents of intents; give one of them")
    from slotfill.cli import display
    from slotfill.data.splits import MIN_VALID_LABELS
    from slotfill.runs.load import load_run
    from slotfill.runs.threshold import find_thresholds, store_calibration

    loaded = load_run(run, device, engine)
    if not dry_run:
        loaded.files.check_changeable()
    result = find_thresholds(loaded, precision, per_slot=per_slot, intents=intents)
    if as_json:
        write_json(result.to_json(), indent=1)
    else:
        display.print_thresholds(result)
    if result.predicted < MIN_VALID_LABELS:
        echo(
            f"warning: {format_count(result.predicted, result.kind)} predicted on valid are too few"
            f" to trust the precision; {MIN_VALID_LABELS} are needed",
            err=as_json,
        )
    if not dry_run:
        store_calibration(loaded, result.calibration)
    done = "found, not stored in" if dry_run else "stored in"
    echo(f"{done} {run}: {result.changes}", err=as_json)


def values(run: RunPath, config: ConfigName, overrides: Overrides = None) -> None:
    """Give a run the rules, synonyms and resolved slots of a config; nothing is trained.

    Those that the run had before are replaced. Other keys of the config are ignored.
    """
    from slotfill.config.builtin import load_config
    from slotfill.runs.values import replace_values

    name, loaded = load_config(config, overrides or [])
    had_values, findings = replace_values(run, loaded)
    for finding in findings:
        echo(f"warning: {finding}")
    before = " instead of those that it had" if had_values else ""
    echo(f"{run}: has the rules, synonyms and resolved slots of {name}{before}")
