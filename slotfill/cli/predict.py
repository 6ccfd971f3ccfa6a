"""The command predict: sentences, files, streams and tables."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from slotfill.cli.app import (
    Device,
    Engine,
    IntentThreshold,
    RunPath,
    Threshold,
    Trust,
    parse_thresholds,
)
from slotfill.cli.output import echo, echo_errors, write_data
from slotfill.errors import DataError, UsageError, did_you_mean, format_count, limit_messages
from slotfill.files import STANDARD_INPUT
from slotfill.text_lines import EncodingErrors

if TYPE_CHECKING:
    from slotfill.data.sentence import Example
    from slotfill.runs.predict import Text
    from slotfill.runs.tables import TableTask

_MAX_NOTES = 10
"""The notes of `predict` that are printed; others are counted."""


def _parse_now(text: str) -> datetime:
    """Return the value of --now."""
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M"):
        with suppress(ValueError):
            return datetime.strptime(text, form)
    raise UsageError(f"--now {text}: expected a date, as 2026-11-27 or 2026-11-27T09:30")


def predict(
    run: RunPath,
    sentences: Annotated[
        list[str] | None,
        Argument(metavar="SENTENCE", help="Texts to tag; - is standard input."),
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
        int,
        Option(
            min=1, max=1024, help="Number of processes; worthwhile from about 10,000 sentences."
        ),
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

    if sentences == ["-"] and not input:
        sentences = None
    if sentences and input:
        hint = "; quote a pattern, as --input 'logs/*.csv'" if text_column is not None else ""
        raise UsageError(f"give sentences or --input, not both{hint}")
    tasks: list[TableTask] = []
    note: Path | None = None
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
            echo(f"--shard {shard}: no file; there are fewer files than shards")
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
    output.check_printable()
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
    if text_column is not None and out is not None:
        from slotfill.runs.tables import check_origin

        note = check_origin(out, tasks, text_column, predictor)
        tasks = _leave_out_written(tasks)
        if not tasks:
            return
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
            raise Exit(_predict_tables(tasks, note, predict_file))
    if text_column is not None:
        from slotfill.runs.tables import predict_table

        with renderer as render:
            raise Exit(
                _predict_tables(
                    tasks, note, lambda task: predict_table(task, text_column, predictor, render)
                )
            )
    path = Path(input[0]) if input else None
    texts: Iterable[Text] = sentences or predictor.check_lengths(
        _read_texts(path, input_format, predictor.run.scheme, encoding_errors)
    )
    if on_terminal:
        from slotfill.cli.highlight import print_highlighted

        for group in predictor.stream(texts):
            print_highlighted(group, predictor.run.vocab.slot_names)
        return
    with renderer as render:
        for chunk in render(texts):
            write_data(chunk)
    notes.end()


def _plan_tables(input: list[str], out: Path, shard: str | None, resume: bool) -> "list[TableTask]":
    """Return the files to predict; raises UsageError if one is written, unless to resume."""
    from slotfill.runs.tables import plan_tables

    tasks = plan_tables(input, out, shard)
    for task in tasks:
        if task.target.exists() and not resume:
            raise UsageError(
                f"{task.target}: exists, and nothing is overwritten; choose another --out, or skip"
                " files that are written with --resume"
            )
    return tasks


def _leave_out_written(tasks: "list[TableTask]") -> "list[TableTask]":
    """Return the files to predict that are not written, and name the others."""
    written = [task.target for task in tasks if task.target.exists()]
    for target in written:
        echo(f"{target}: is written, skipped")
    return [task for task in tasks if task.target not in written]


def _predict_tables(
    tasks: "list[TableTask]", note: Path | None, predict_file: "Callable[[TableTask], int]"
) -> int:
    """Predict files by a function that returns how many rows one has; return the exit code.

    The new `note` on what predicts them is removed if none is written.
    """
    from slotfill.runs.tables import remove_unused_note

    exit_code = 0
    try:
        for task in tasks:
            try:
                rows = predict_file(task)
            except (DataError, UsageError) as error:  # Other files may be right.
                echo_errors(*limit_messages(error.messages))
                exit_code = max(exit_code, error.exit_code)
            else:
                echo(f"{task.target}: {format_count(rows, 'row')}")
    finally:
        if note is not None:
            remove_unused_note(note)
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
