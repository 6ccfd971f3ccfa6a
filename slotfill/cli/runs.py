"""Commands on runs: train, evaluate, predict, export."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Exit, Option

from slotfill.cli.app import (
    AsJson,
    Config,
    ConfigName,
    Device,
    Engine,
    Force,
    IntentThreshold,
    Overrides,
    RunPath,
    Seed,
    Threshold,
    Trust,
    check_number,
    one_config,
    parse_thresholds,
)
from slotfill.cli.output import echo, echo_errors, write_data, write_json
from slotfill.errors import DataError, UsageError, did_you_mean, format_count
from slotfill.files import (
    STANDARD_INPUT,
    EncodingErrors,
    check_new_file,
    check_not_input,
    write_atomically,
)
from slotfill.runs.device import resolve_device

if TYPE_CHECKING:
    from slotfill.data.sentence import Example
    from slotfill.runs.predict import Text
    from slotfill.runs.tables import TableTask

_MAX_NOTES = 10
"""The notes of `predict` that are printed; others are counted."""


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
    profile: Annotated[
        bool, Option("--profile", help="Print at the end where the time was spent.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Train a tagger and save it as a run folder.

    Without CONFIG, trains on the built-in Taipei corpus. Ctrl-C stops training and keeps the best
    epoch so far.
    """
    from slotfill.cli import display
    from slotfill.cli.progress import training_progress
    from slotfill.config.builtin import load_config
    from slotfill.runs.folder import RunFolder
    from slotfill.training.launch import torchrun_rank

    if torchrun_rank() > 0:
        from slotfill.runs import train as training

        training.assist(resolve_device(device))
        return
    name, settings = one_config(config, overrides)
    if seed is not None:
        settings.append(f"train.seed={seed}")
    if resume is not None:
        if name is not None or settings or out or force:
            raise UsageError(
                "--resume continues a run as it is; omit CONFIG, KEY=VALUE, --out, --seed, --force"
            )
        folder = RunFolder(resume, resume=True)
        if folder.complete():
            echo(f"{folder.out}: the run was trained to its end, and is complete now")
            return
        loaded = folder.config
    else:
        run_name, loaded = load_config(name, settings, need_data=True)
        if loaded.tune:
            echo_errors("the search space under tune: is ignored by train")
        folder = RunFolder(out or Path("runs") / run_name, force=force)
    with training_progress() as report, loaded.locate_errors():
        from slotfill.runs import train as training

        result = training.train(
            loaded,
            folder,
            report,
            on_finding=lambda finding: echo(f"warning: {finding}"),
            on_coverage=display.print_coverage,
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
    """Evaluate a run on labelled sentences: precision, recall and F1 of each slot, and more."""
    files = [file for file in (report, errors) if file is not None]
    for file in files:
        check_new_file(file, force=force)
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError(f"--report and --errors are both {report}; give two files")

    from slotfill.cli import display
    from slotfill.data.findings import find_left_out
    from slotfill.evaluation.evaluate import evaluate as score
    from slotfill.runs.evaluate import analyze_run, input_files, name_sentences, read_labelled
    from slotfill.runs.load import load_run

    if split is not None and data is not None:
        raise UsageError("--split names a split of the run's own data, --data other data: give one")
    if 0 < min_f1 <= 1:
        raise UsageError(
            f"--min-f1 {min_f1:g}: F1 is in percent; for {min_f1:g} give {min_f1 * 100:g}"
        )
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


def _parse_now(text: str) -> datetime:
    """Return the value of --now."""
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M"):
        with suppress(ValueError):
            return datetime.strptime(text, form)
    raise UsageError(f"--now {text}: expected a date, as 2026-11-27 or 2026-11-27T09:30")


def predict(
    run: RunPath,
    sentences: Annotated[
        list[str] | None, Argument(metavar="SENTENCE", help="Texts to tag.")
    ] = None,
    input: Annotated[
        list[str] | None,
        Option(
            metavar="FILE",
            help=(
                "A text file with one sentence per line, or a file of sentences in any format; - is"
                " standard input. With --text-column files or quoted patterns, as 'logs/*.parquet'."
            ),
            show_default="-",
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="The column of texts in files of CSV, JSON lines or Parquet; others are kept.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(
            metavar="PATH",
            help="With --text-column: the file to write, or a folder for files of the same names.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        Option(
            metavar="K/N",
            help="With --text-column: only every N-th file; of a single file, a part of the rows.",
        ),
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="With --text-column: skip files that are written.")
    ] = False,
    ray: Annotated[
        str | None,
        Option(
            metavar="ADDRESS",
            help=(
                "With --text-column: predict files on the Ray cluster at this address; auto is the"
                " one that this machine belongs to, local a new one of this machine alone."
            ),
        ),
    ] = None,
    input_format: Annotated[
        str | None,
        Option(
            help="Format of the input, with options as in convert, or text; labels are ignored.",
            show_default="by name and content",
        ),
    ] = None,
    encoding_errors: Annotated[
        EncodingErrors,
        Option(help="What to do with lines of text that are not UTF-8; strict stops."),
    ] = "strict",
    format: Annotated[
        str | None,
        Option(
            help=(
                "Output format, as jsonl, conll, brackets or label_studio; text is in colour on a"
                " terminal and brackets elsewhere."
            ),
            show_default="text on a terminal, else jsonl",
        ),
    ] = None,
    device: Device = "auto",
    engine: Engine = "auto",
    jobs: Annotated[
        int, Option(min=1, help="Number of processes; worthwhile from about 10,000 sentences.")
    ] = 1,
    threshold: Threshold = None,
    intent_threshold: IntentThreshold = None,
    nbest: Annotated[
        int, Option(min=0, max=100, help="Also give this many of the most probable readings.")
    ] = 0,
    confidence: Annotated[
        bool,
        Option(help="Give the probability of each slot and intent; shown as shades."),
    ] = True,
    now: Annotated[
        datetime | None,
        Option(
            parser=_parse_now,
            metavar="DATE",
            help="What dates such as tomorrow are relative to, if the run resolves dates.",
            show_default="the current time",
        ),
    ] = None,
    trust: Trust = False,
) -> None:
    """Fill the slots of sentences from the command line, a file or standard input.

    Writes one result per line of input, in order. In JSON lines, `start` and `end` count
    characters from 0, and `end` is exclusive. `confidence` is the probability of a slot, or of all
    slots of a sentence together.

    With --text-column, writes files with the columns slots, intent and confidence added, each
    completely or not at all.
    """
    from slotfill.config.registry import FORMATS
    from slotfill.runs.predict import Predictor

    if sentences and input:
        hint = "; quote a pattern, as --input 'logs/*.csv'" if text_column is not None else ""
        raise UsageError(f"give sentences or --input, not both{hint}")
    tasks: list[TableTask] = []
    if text_column is not None:
        if format or input_format or nbest or encoding_errors != "strict":
            raise UsageError(
                "--text-column keeps the format of each file; omit --format, --input-format,"
                " --encoding-errors, --nbest"
            )
        if not input or out is None:
            raise UsageError("--text-column needs --input FILE and --out PATH")
        tasks = _plan_tables(input, out, shard, resume)
        if not tasks:
            return
    elif out is not None or shard is not None or resume or ray is not None:
        raise UsageError("--out, --shard, --resume and --ray need --text-column")
    elif input and len(input) > 1:
        raise UsageError("several --input need --text-column and --out")
    if (jobs > 1 or ray is not None) and device == "cuda":
        option = "--jobs" if ray is None else "--ray"
        raise UsageError(f"{option}: several processes compute on the CPU; omit --device")
    if jobs > 1 and ray is not None:
        raise UsageError("--ray: each processor of the cluster predicts a file; omit --jobs")
    if nbest and not confidence:
        raise UsageError("--nbest gives readings with their probabilities; omit --no-confidence")
    on_terminal = sys.stdout.isatty() and format in (None, "text") and text_column is None
    output_format = "brackets" if format == "text" else format or "jsonl"
    if format and output_format not in FORMATS.names() and not format.endswith(".py"):
        raise UsageError(
            f"unknown format '{format}'{did_you_mean(format, ['text', *FORMATS.names()])}"
        )
    output = FORMATS.build(output_format)
    has_confidence = on_terminal or output.holds_confidence
    if nbest and not (on_terminal or output_format == "jsonl"):
        raise UsageError(f"--nbest needs JSON lines, not {format}; omit --format")
    if has_confidence and not (confidence or on_terminal or output_format == "jsonl"):
        problem = f"{output_format} has the score of each prediction; omit it"
        raise UsageError(f"--no-confidence: {problem}")
    general, by_slot = parse_thresholds(threshold)
    options: dict[str, Any] = {
        "engine": engine,
        "confidence": confidence and has_confidence,
        "nbest": nbest,
        "now": now or datetime.now(),
        "threshold": general,
        "thresholds": tuple(by_slot.items()),
        "intent_threshold": intent_threshold,
    }
    predictor = Predictor.load(run, device, **options)
    if output.needs_intents and not predictor.run.vocab.intents:
        problem = "needs intents, which this run does not predict"
        raise UsageError(f"--format {format}: {problem}; write jsonl or brackets")
    notes = _Notes()
    if predictor.run.vocab.intents and not (on_terminal or output.holds_intents):
        notes.add(f"{output_format} has no place for intents")
    renderer: AbstractContextManager[Callable[[Iterable[Text]], Iterator[str]]]
    renderer = nullcontext(partial(predictor.render_stream, format=output_format, note=notes.add))
    if jobs > 1:
        from slotfill.runs.parallel import parallel_renderer

        renderer = parallel_renderer(run, output_format, jobs, notes.add, **options)
    if ray is not None:
        from slotfill.runs.on_ray import predict_on_ray

        with predict_on_ray(ray, tasks, str(text_column), run, **options) as predict_file:
            raise Exit(_predict_tables(tasks, predict_file))
    if text_column is not None:
        from slotfill.runs.tables import predict_table

        with renderer as render:
            raise Exit(
                _predict_tables(
                    tasks, lambda task: predict_table(task, text_column, predictor, render)
                )
            )
    path = Path(input[0]) if input else None
    texts: Iterable[Text] = sentences or _read_texts(
        path, input_format, predictor.run.scheme, encoding_errors
    )
    if on_terminal:
        from slotfill.cli import display

        for group in predictor.stream(texts):
            display.print_highlighted(group, predictor.run.vocab.slot_names)
        return
    with renderer as render:
        for chunk in render(texts):
            write_data(chunk)
    notes.end()


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
    if (name or version) and not wheel:
        raise UsageError("--name and --version are of a package; add --wheel")
    from slotfill.runs.pack import pack_run, pack_wheel, wheel_name

    if not wheel:
        out = out or Path(f"{run.resolve().name}.zip")
        check_new_file(out, force=force)
        content = pack_run(run)
    else:
        name, version = name or run.resolve().name, version or "1.0.0"
        out = out or Path(wheel_name(name, version))
        check_new_file(out, force=force)
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


def _plan_tables(input: list[str], out: Path, shard: str | None, resume: bool) -> "list[TableTask]":
    """Return the files to predict that are not written yet."""
    from slotfill.runs.tables import plan_tables

    tasks = plan_tables(input, out, shard)
    written = [task.target for task in tasks if task.target.exists()]
    if written and not resume:
        raise UsageError(
            f"{written[0]}: exists, and nothing is overwritten; choose another --out, or skip"
            " files that are written with --resume"
        )
    for target in written:
        echo(f"{target}: is written, skipped")
    if not tasks:
        echo(f"--shard {shard}: no file; there are fewer files than shards")
    return [task for task in tasks if task.target not in written]


def _predict_tables(tasks: "list[TableTask]", predict_file: "Callable[[TableTask], int]") -> int:
    """Predict files by a function that returns how many rows one has; return the exit code."""
    exit_code = 0
    for task in tasks:
        try:
            rows = predict_file(task)
        except (DataError, UsageError) as error:  # Other files may be right.
            echo_errors(*error.messages)
            exit_code = max(exit_code, error.exit_code)
        else:
            echo(f"{task.target}: {format_count(rows, 'row')}")
    return exit_code


class _Notes:
    """Notes on what is left out, of which the first are printed."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, message: str) -> None:
        self.count += 1
        if self.count <= _MAX_NOTES:
            echo(f"note: {message}", err=True)

    def end(self) -> None:
        if self.count > _MAX_NOTES:
            echo(f"note: and {self.count - _MAX_NOTES:,} more", err=True)


def _read_texts(
    path: Path | None, input_format: str | None, scheme: str, errors: EncodingErrors
) -> "Iterator[Example]":
    """Return the texts of a file or of standard input."""
    from slotfill.cli.configs import parse_format
    from slotfill.data.corpus import read_texts

    format = parse_format(input_format)
    if path is None or str(path) == "-":
        path = STANDARD_INPUT
        if format == "jointslu":
            raise UsageError("--input-format jointslu needs a folder, not standard input")
        if sys.stdin is None:
            raise UsageError("standard input is closed; give sentences or --input FILE")
        if sys.stdin.isatty():
            echo("Enter one sentence per line; Ctrl-D ends.", err=True)
    return read_texts(path, format, scheme, errors)
