"""Tables: files with a column of texts, read in batches and written with more columns."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any

from slotfill.data import arrow
from slotfill.data.arrow import Column, Feature
from slotfill.data.formats.csv import MAX_ROW, read_rows
from slotfill.data.json_objects import describe_json_error, parse_json, shorten
from slotfill.errors import DataError, UsageError, did_you_mean, format_count
from slotfill.files import read_lines

Values = Mapping[str, Any]
"""The values of the new columns in a row, by the names of the columns."""

_BATCH_ROWS = 1000


class Table(ABC):
    """A file of rows with a column of texts."""

    def __init__(self, path: Path, text_column: str, new_columns: Mapping[str, Feature]) -> None:
        self.path = path
        self.text_column = text_column
        self.new_columns = new_columns

    @abstractmethod
    def read(self) -> Iterator[tuple[list[str], Any]]:
        """Yield batches: the texts, empty where there is none, and a sequence of whole rows.

        Raises UsageError if there is no column of texts, and DataError if the file cannot be read
        or already has a new column.
        """

    @abstractmethod
    def write(self, path: Path, groups: Iterable[tuple[Any, Sequence[Values]]]) -> None:
        """Write rows of `read`, each beside its values in the new columns, to the file `path`."""

    def count_rows(self) -> int:
        """Return how many rows the file has."""
        return sum(len(texts) for texts, _ in self.read())


class _Csv(Table):
    """CSV or TSV with a header; slots are a JSON array."""

    def read(self) -> Iterator[tuple[list[str], Any]]:
        _, rows = read_rows(self.path)
        location, names = next(rows, ("", []))
        if not names:
            raise DataError(f"{self.path}: no header; the file is empty")
        _check_columns(names, self.text_column, self.new_columns, location)
        index = names.index(self.text_column)
        while batch := list(islice(rows, _BATCH_ROWS)):
            for location, cells in batch:
                if len(cells) != len(names):
                    found, named = len(cells), format_count(len(names), "column")
                    raise DataError(
                        f"{location}: {format_count(found, 'cell')}, but the header names {named};"
                        " quote cells that contain separators"
                    )
            yield [cells[index] for _, cells in batch], [cells for _, cells in batch]

    def write(self, path: Path, groups: Iterable[tuple[Any, Sequence[Values]]]) -> None:
        separator, rows = read_rows(self.path)
        _, names = next(rows, ("", []))  # That it is empty is said when it is read.
        if len(names) == 1:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=separator, lineterminator="\n")
            writer.writerow([*names, *self.new_columns])
            for kept, values in groups:
                for cells, row in zip(kept, values, strict=True):
                    writer.writerow([*cells, *(_to_cell(row[name]) for name in self.new_columns)])


class _JsonLines(Table):
    """An object a line, which is kept as it is and gets more keys."""

    def read(self) -> Iterator[tuple[list[str], Any]]:
        rows = self._read_rows()
        while batch := list(islice(rows, _BATCH_ROWS)):
            yield [text for text, _ in batch], [line for _, line in batch]

    def write(self, path: Path, groups: Iterable[tuple[Any, Sequence[Values]]]) -> None:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for lines, values in groups:
                for line, row in zip(lines, values, strict=True):
                    items = (
                        f"{quoted(name)}: {json.dumps(row[name], ensure_ascii=False)}"
                        for name in self.new_columns
                    )
                    file.write(f"{line}{', '.join(items)}}}\n")

    def _read_rows(self) -> Iterator[tuple[str, str]]:
        """Yield the text of each row, and its line up to where keys are added.

        A row without the key has no text, as long as another row has it.
        """
        first: tuple[dict[str, Any], str] | None = None
        found = False
        for number, line in read_lines(self.path, max_characters=MAX_ROW):
            if not line.strip():
                continue
            location = f"{self.path}:{number}"
            try:
                row = parse_json(line, location)
            except json.JSONDecodeError as error:
                problem = f"not JSON: {describe_json_error(error)}"
                raise DataError(f"{location}: {problem}; give one object a line") from None
            if not isinstance(row, dict):
                hint = "; without --text-column, an array is read" if isinstance(row, list) else ""
                raise DataError(f"{location}: expected a JSON object, found {shorten(row)}{hint}")
            _check_new(row, self.new_columns, location)
            first, found = first or (row, location), found or self.text_column in row
            text = row.get(self.text_column)
            if not isinstance(text, str | None):
                raise DataError(f'{location}: "{self.text_column}" is {shorten(text)}, not a text')
            yield text or "", line.rstrip().removesuffix("}") + (", " if row else "")
        if first and not found:
            _check_columns(first[0], self.text_column, self.new_columns, first[1])


class _Parquet(Table):
    """Parquet; other columns keep their types, and slots are a list of structs."""

    def read(self) -> Iterator[tuple[list[str], Any]]:
        columns = arrow.read_columns(self.path)
        check_types(columns, self.text_column, self.new_columns, str(self.path))
        for batch in arrow.read_batches(self.path):
            yield arrow.read_texts(batch, self.text_column), batch

    def write(self, path: Path, groups: Iterable[tuple[Any, Sequence[Values]]]) -> None:
        arrow.write_batches(path, self.path, self.new_columns, groups)

    def count_rows(self) -> int:
        return arrow.count_rows(self.path)


_KINDS: dict[str, type[Table]] = {
    ".csv": _Csv,
    ".tsv": _Csv,
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
    ".json": _JsonLines,
    ".parquet": _Parquet,
}


def is_table(path: Path) -> bool:
    """Return whether `path` is named as a table."""
    return path.suffix.lower() in _KINDS


def open_table(path: Path, text_column: str, new_columns: Mapping[str, Feature]) -> Table:
    """Return the table of the file `path`, which will be written with `new_columns`."""
    return _KINDS[path.suffix.lower()](path, text_column, new_columns)


def check_table(path: Path) -> None:
    """Raise UsageError if `path` is not named as a table."""
    if not is_table(path):
        raise UsageError(f"{path}: not named as a table; the suffix must be {', '.join(_KINDS)}")


def check_types(
    columns: Mapping[str, Column], text_column: str, new_columns: Iterable[str], location: str
) -> None:
    """Raise UsageError or DataError if the columns of Arrow are not those of such a table."""
    _check_columns(columns, text_column, new_columns, location)
    shape = columns[text_column].shape
    if shape not in ("text", "nothing"):
        raise DataError(f"{location}: '{text_column}' is of type {shape}, not text")


def _check_columns(
    names: Iterable[str], text_column: str, new_columns: Iterable[str], location: str
) -> None:
    """Raise UsageError or DataError if the columns `names` are not those of such a table."""
    names = list(names)
    if text_column not in names:
        hint = did_you_mean(text_column, names)
        raise UsageError(f"{location}: no column '{text_column}'{hint}")
    if names.count(text_column) > 1:
        raise DataError(f"{location}: two columns '{text_column}'; rename one of them")
    _check_new(names, new_columns, location)


def _check_new(names: Iterable[str], new_columns: Iterable[str], location: str) -> None:
    """Raise DataError if a new column is one of the columns `names`."""
    if taken := [name for name in new_columns if name in names]:
        listed = " and ".join(f"'{name}'" for name in taken)
        raise DataError(f"{location}: already has {listed}, which predict adds; rename it")


def _to_cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
