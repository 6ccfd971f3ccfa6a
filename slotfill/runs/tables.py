"""Prediction of tables: files in, files with the columns of the predictions out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from glob import escape, glob
from pathlib import Path
from typing import Any

from slotfill.data.arrow import Feature
from slotfill.data.sentence import Example
from slotfill.data.tables import Table, check_table, is_table, open_table
from slotfill.errors import UsageError
from slotfill.files import (
    check_new_file,
    check_no_link,
    nearest_in_folder,
    parse_json,
    read_regular_file,
    real_path,
    replaced_at_end,
    write_in_folder,
)
from slotfill.runs.predict import Predictor, Text
from slotfill.runs.shard import ALL, Shard, parse_shard

Render = Callable[[Iterable[Text]], Iterator[str]]
"""Yields groups of predictions as JSON lines, for texts in order."""

_NOTE = ".predict.json"
"""What a folder of predicted files notes of what predicts them."""


@dataclass(frozen=True)
class TableTask:
    """A file to predict, or a part of it."""

    source: Path
    target: Path
    """The file to write."""
    shard: Shard = ALL
    """Which of as many equal parts of the rows."""


def plan_tables(patterns: Sequence[str], out: Path, shard: str | None = None) -> list[TableTask]:
    """Return what to predict: the files that match `patterns`, or every N-th for the shard `K/N`.

    Of a single file, a shard is a part of the rows. `out` is a file, or a folder for files with the
    names of the input.
    """
    if str(out) == "-":
        raise UsageError(
            "--out -: tables are not written to standard output; name a file or folder"
        )
    part = parse_shard(shard)
    sources = list(dict.fromkeys(path for pattern in patterns for path in _find(pattern)))
    for source in sources:
        check_table(source)
    if is_table(out):
        if len(sources) > 1:
            problem = f"one file, but there are {len(sources)} of input; name a folder"
            raise UsageError(f"--out {out}: {problem}")
        if out.suffix.lower() != sources[0].suffix.lower():
            raise UsageError(f"--out {out}: must end in {sources[0].suffix}, as the input")
        check_new_file(out, force=True)
        targets = {out: sources[0]}
    else:
        if out.exists() and not out.is_dir():
            raise UsageError(f"--out {out}: is a file that is no table; name a folder")
        if out.is_symlink() and not out.exists():
            raise UsageError(f"--out {out}: a link to {out.readlink()}, which is not there")
        targets = {}
        for source in sources:
            other = targets.setdefault(out / source.name, source)
            if other != source:
                problem = f"{other} and {source} would both be written there"
                raise UsageError(f"{out / source.name}: {problem}; predict them separately")
    inputs = {real_path(source) for source in sources}
    for target in targets:
        if real_path(target) in inputs:
            raise UsageError(f"{target}: is read by this command; write to another place")
    tasks = [TableTask(source, target) for target, source in targets.items()]
    if len(tasks) > 1 or part.total == 1:
        return part.select(tasks)
    ((target, source),) = targets.items()
    name = f"{target.stem}-{part.number:05}-of-{part.total:05}{target.suffix}"
    return [TableTask(source, target.with_name(name), part)]


def check_origin(
    out: Path, tasks: Sequence[TableTask], text_column: str, predictor: Predictor
) -> Path | None:
    """Note beside the files of `tasks` what predicts them, unless it is a single file.

    Raises UsageError if files there are of another run, or were predicted with other options.

    Returns:
        The file of the note, if there was none before.
    """
    if [task.target for task in tasks] == [out]:
        return None
    for task in tasks:
        check_no_link(task.target)
    run = predictor.run
    origin: dict[str, Any] = {"run": str(run.files.path), "fingerprint": run.files.fingerprint}
    origin |= {"text_column": text_column, "confidence": predictor.confidence}
    origin |= asdict(run.calibration)
    path = out.with_name(f".{out.name}.json") if is_table(out) else out / _NOTE
    check_no_link(path)
    problem = ""
    if path.exists():
        try:
            found = parse_json(read_regular_file(path), {"run": str, "fingerprint": str})
        except (OSError, ValueError):
            raise UsageError(f"{path}: damaged or edited; choose another --out") from None
        changed = [key for key in origin if found.get(key) != origin[key]]
        if "fingerprint" in changed:
            problem = f"the files there are of another run, {found['run']}"
        elif changed := [key for key in changed if key != "run"]:
            old, new = (json.dumps(each.get(changed[0])) for each in (found, origin))
            problem = f"the files there are predicted with {changed[0]} {old}, not {new}"
    elif written := [task.target for task in tasks if task.target.exists()]:
        problem = f"not there, so what has predicted {written[0]} is not known"
    if problem:
        raise UsageError(f"{path}: {problem}; choose another --out")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_in_folder(path, json.dumps(origin, ensure_ascii=False, indent=1) + "\n")

        return path
    return None


def remove_unused_note(path: Path) -> None:
    """Remove a note of `check_origin` if no file is there, or being written, which it is about."""
    name = Path(path.name.removeprefix(".").removesuffix(".json"))
    files = path.parent.glob("*" if path.name == _NOTE else f"{escape(name.stem)}-*")
    if not any(file != path for file in files):
        path.unlink(missing_ok=True)


def predict_table(task: TableTask, text_column: str, predictor: Predictor, render: Render) -> int:
    """Write the file of a task, completely or not at all, and return how many rows it has."""
    table = open_table(task.source, text_column, prediction_columns(predictor))
    rows = 0

    def counted() -> Iterator[tuple[Any, list[dict[str, Any]]]]:
        nonlocal rows
        for group in _predict(table, _read_part(table, task), render):
            rows += len(group[1])
            yield group

    task.target.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_end(task.target) as draft:
        table.write(draft, counted())
    return rows


def prediction_columns(predictor: Predictor) -> dict[str, Feature]:
    """Return the columns of predictions, named as the keys of JSON lines."""
    slot: dict[str, Feature] = {"name": "string", "value": "string"}
    if predictor.resolver is not None:
        slot["resolved"] = "string"
    slot |= {"start": "int64", "end": "int64"}
    columns: dict[str, Feature] = {"slots": [slot]}
    if predictor.run.vocab.intents:
        columns["intent"] = "string"
    if predictor.confidence:
        slot["confidence"] = "float64"
        if "intent" in columns:
            columns["intent_confidence"] = "float64"
        columns |= {"confidence": "float64", "in_domain": "float64"}
    return columns


def _predict(
    table: Table, batches: Iterable[tuple[list[Example], Any]], render: Render
) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Yield the rows of each batch with their predictions, in constant memory."""
    waiting: deque[tuple[int, Any]] = deque()

    # Read ahead by another thread: a batch waits before its first text is predicted.
    def texts() -> Iterator[Example]:
        for batch, rows in batches:
            if batch:
                waiting.append((len(batch), rows))
                yield from batch

    done: list[dict[str, Any]] = []
    for values in predict_values(texts(), table.new_columns, render):
        done.append(values)
        if len(done) == waiting[0][0]:
            yield waiting.popleft()[1], done
            done = []


def predict_values(
    texts: Iterable[Text], columns: Iterable[str], render: Render
) -> Iterator[dict[str, Any]]:
    """Yield the values of the columns of predictions for each text."""
    for chunk in render(texts):
        for line in chunk.removesuffix("\n").split("\n"):
            prediction = json.loads(line)
            yield {name: prediction.get(name) for name in columns}


def _read_part(table: Table, task: TableTask) -> Iterator[tuple[list[Example], Any]]:
    """Yield the batches of the rows of a task."""
    part, parts = task.shard
    count = table.count_rows() if parts > 1 else 0
    start = count * part // parts
    stop = count * (part + 1) // parts
    position = 0
    for texts, rows in table.read():
        first, last = 0, len(texts)
        if parts > 1:
            first, last = max(start - position, 0), min(stop - position, last)
        if first < last:
            numbered = enumerate(texts[first:last], position + first + 1)
            located = [Example(text, location=f"{table.path}: row {row}") for row, text in numbered]
            yield located, rows[first:last]
        position += len(texts)


def _find(pattern: str) -> list[Path]:
    """Return the files that a pattern such as `logs/*.csv` matches, sorted."""
    path = Path(pattern)
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give a pattern, as '{path}/*.csv'")
    if path.exists():
        return [path]
    # Path.glob takes no absolute pattern.
    names = map(Path, sorted(glob(pattern, recursive=True)))  # noqa: PTH207
    files = [name for name in names if is_table(name) or not name.is_dir()]
    for file in files or [path]:
        if file.is_dir():
            raise UsageError(f"{file}: is a folder; give a pattern for its files, as '{file}/*'")
        if not file.exists():
            raise UsageError(f"{file}: no such file{nearest_in_folder(file)}")
    return files
