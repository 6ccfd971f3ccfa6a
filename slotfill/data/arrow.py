"""Rows of Parquet and Arrow files, and the class names that Hugging Face keeps in their schema.

Needs pyarrow, which is imported only to read or write such a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from slotfill.errors import DataError, UsageError
from slotfill.extras import required_for
from slotfill.files import nearest_in_folder

SUFFIXES = (".parquet", ".arrow")
_TOTAL = re.compile(r"-of-(\d{5})")
MAGIC = (b"PAR1", b"ARROW1")
"""What files begin with; those of streams of Arrow do not."""

Feature = str | tuple[str, ...] | list[Any] | dict[str, Any]
"""What a column holds as it is written: `string`, `int64` or `float64`, class names, a list of one
feature, or an object of features."""

_BATCH_ROWS = 1000
_GROUP_ROWS = 10_000


@dataclass(frozen=True)
class Column:
    """What a column holds."""

    shape: str
    """`text`, `number`, `object`, `list of` one of these, `nothing`, or another type of Arrow."""
    class_names: list[str] | None = None
    """The names of its numbers."""
    fields: Mapping[str, Column] = field(default_factory=dict)
    """What the fields of its objects hold."""


def list_files(folder: Path) -> list[Path]:
    """Return the files of a folder that is one data set in numbered files; none for another.

    Such files are called 0000.parquet, part-00000.parquet, data-00000-of-00002.arrow, or begin with
    the name of the folder instead of `data`. Raises DataError if one of them is missing.
    """
    numbered = re.compile(rf"((data|part|{re.escape(folder.name)})-)?\d+(-.*)?")
    files = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in SUFFIXES]
    # The library `datasets` leaves the results of computations beside the data.
    files = [path for path in files if not path.name.startswith((".", "cache-"))]
    if not all(numbered.fullmatch(path.stem) for path in files):
        return []
    totals = {int(match[1]) for path in files if (match := _TOTAL.search(path.stem))}
    if len(totals) == 1 and totals != {len(files)}:
        raise DataError(f"{folder}: only {len(files)} of {totals.pop()} files; add the others")
    return files


def read_columns(path: Path) -> dict[str, Column]:
    """Return the columns of a file by their names; raises DataError if it cannot be read."""
    with _open(path) as (schema, _):
        return describe_columns(schema, str(path))


def describe_columns(schema: Any, location: str) -> dict[str, Column]:
    """Return the columns of a `pyarrow.Schema`; raises DataError if two have one name."""
    features = _read_features(schema.metadata)
    columns = {each.name: _describe(each.type, features.get(each.name)) for each in schema}
    if len(columns) < len(schema):
        raise DataError(f"{location}: two columns with one name: {', '.join(schema.names)}")
    return columns


def read_rows(path: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the values of the columns `names` of each row, batch by batch.

    Raises DataError where the file cannot be read.
    """
    with _open(path) as (_, batches):
        for batch in batches(list(names)):
            batch.validate(full=True)  # Damaged offsets would read any memory.
            values = [batch.column(name).to_pylist() for name in names]
            yield from (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))


def read_batches(path: Path) -> Iterator[Any]:
    """Yield the rows of a file as `pyarrow.RecordBatch`; raises DataError if it cannot be read."""
    with _open(path) as (schema, batches):
        for batch in batches(schema.names):
            batch.validate(full=True)
            yield batch


def check_batch(batch: Any) -> None:
    """Raise UsageError if `batch` is neither a `pyarrow.RecordBatch` nor a `Table`."""
    pyarrow = _import_pyarrow()
    if not isinstance(batch, pyarrow.RecordBatch | pyarrow.Table):
        raise UsageError(
            f"a batch is a pyarrow Table or RecordBatch, not {type(batch).__name__}; in Ray, give"
            " map_batches batch_format='pyarrow'"
        )


def read_texts(batch: Any, name: str) -> list[str]:
    """Return a column of texts of a `pyarrow.RecordBatch` or `Table`, empty where there is none."""
    return [text or "" for text in batch.column(name).to_pylist()]


def count_rows(path: Path) -> int:
    """Return how many rows a Parquet file has."""
    with _open(path):
        return int(_import_pyarrow().parquet.read_metadata(path).num_rows)


def append_columns(
    batch: Any, columns: Mapping[str, Feature], rows: Sequence[Mapping[str, Any]]
) -> Any:
    """Return a `pyarrow.RecordBatch` or `Table` with more columns.

    `columns` are the features of these, and `rows` their values in each row.
    """
    pyarrow = _import_pyarrow()
    for name, feature in columns.items():
        values = pyarrow.array([row[name] for row in rows], _to_type(feature))
        batch = batch.append_column(pyarrow.field(name, values.type), values)
    return batch


def write_batches(
    path: Path,
    source: Path,
    columns: Mapping[str, Feature],
    groups: Iterable[tuple[Any, Sequence[Mapping[str, Any]]]],
) -> None:
    """Write a Parquet file: batches of the file `source` with more columns.

    `columns` are the features of these, and their values are beside each batch, row by row.
    """
    pyarrow = _import_pyarrow()
    with _open(source) as (schema, _):
        schema = append_columns(schema.empty_table(), columns, []).schema
    waiting: list[Any] = []
    with path.open("wb") as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for batch, values in groups:
            waiting.append(append_columns(batch, columns, values))
            if sum(map(len, waiting)) >= _GROUP_ROWS:
                writer.write_table(pyarrow.Table.from_batches(waiting, schema))
                waiting = []
        if waiting:
            writer.write_table(pyarrow.Table.from_batches(waiting, schema))


def write_columns(path: Path, columns: Mapping[str, tuple[Feature, Sequence[Any]]]) -> None:
    """Write a new Parquet file of `columns`, for each its feature and its values."""
    pyarrow = _import_pyarrow()
    features = {name: feature for name, (feature, _) in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": _to_json(features)}})}
    schema = pyarrow.schema([(name, _to_type(each)) for name, each in features.items()], metadata)
    table = pyarrow.table([values for _, values in columns.values()], schema=schema)
    with path.open("xb") as file:
        pyarrow.parquet.write_table(table, file, row_group_size=_GROUP_ROWS)


def _import_pyarrow() -> Any:
    with required_for("parquet"):
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    return pyarrow


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Callable[[list[str]], Iterable[Any]]]]:
    """Yield the schema of a file, and a function from names of columns to batches of rows."""
    pyarrow = _import_pyarrow()
    try:
        with path.open("rb") as file:
            magic = file.read(8)
            file.seek(0)
            if magic == b"version ":
                problem = "a pointer of Git LFS, not the file; fetch that with git lfs pull"
                raise DataError(f"{path}: {problem}")
            if magic.startswith(b"ARROW1"):
                arrow = pyarrow.ipc.open_file(file)
                batches = map(arrow.get_batch, range(arrow.num_record_batches))
                yield arrow.schema, lambda names: (batch.select(names) for batch in batches)
            elif path.suffix.lower() == ".arrow" and not magic.startswith(MAGIC):
                stream = pyarrow.ipc.open_stream(file)
                yield stream.schema, lambda names: (batch.select(names) for batch in stream)
            elif magic and not magic.startswith(MAGIC):
                shown = magic.decode("latin1")
                problem = f"neither Parquet nor Arrow, which begin otherwise than with {shown!r}"
                raise DataError(f"{path}: {problem}; name the file after its format")
            else:
                parquet = pyarrow.parquet.ParquetFile(file, buffer_size=2**20)
                read = partial(parquet.iter_batches, _BATCH_ROWS, use_threads=False)
                yield parquet.schema_arrow, lambda names: read(columns=names)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file{nearest_in_folder(path)}") from None
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        problem = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise DataError(f"{path}: cannot be read as Parquet or Arrow: {problem}") from None


def _read_features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    """Return the features that the library `datasets` keeps in a schema; none without them."""
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return features if isinstance(features, dict) else {}
    return {}


def _describe(kind: Any, feature: Any) -> Column:
    """Return what a type of Arrow holds, with the class names of its feature, if any."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _describe(kind.value_type, feature)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Column("text")
    if types.is_null(kind):
        return Column("nothing")
    if types.is_integer(kind):
        return Column("number", _class_names(feature))
    inner = _unwrap(feature)
    if types.is_struct(kind):
        features = inner if isinstance(inner, dict) else {}
        fields = {each.name: _describe(each.type, features.get(each.name)) for each in kind}
        return Column("object", fields=fields)
    if "list" in str(kind).partition("<")[0]:
        item = _describe(kind.value_type, inner)
        return Column(f"list of {item.shape}", item.class_names, item.fields)
    return Column(str(kind))


def _unwrap(feature: Any) -> Any:
    """Return the feature of the items of a list, of whichever version of `datasets`."""
    if isinstance(feature, list) and feature:
        return feature[0]
    if isinstance(feature, dict) and feature.get("_type") in ("List", "LargeList", "Sequence"):
        return feature.get("feature")
    return feature


def _class_names(feature: Any) -> list[str] | None:
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return list(map(str, names)) if isinstance(names, list) else None
    return None


def _to_json(feature: Feature) -> Any:
    """Return a feature as all versions of `datasets` read it."""
    if isinstance(feature, str):
        return {"dtype": feature, "_type": "Value"}
    if isinstance(feature, tuple):
        return {"names": list(feature), "_type": "ClassLabel"}
    if isinstance(feature, dict):
        return {name: _to_json(each) for name, each in feature.items()}
    item = _to_json(feature[0])
    return [item] if isinstance(feature[0], dict) else {"feature": item, "_type": "Sequence"}


def _to_type(feature: Feature) -> Any:
    """Return the type of Arrow for a feature."""
    import pyarrow

    if isinstance(feature, str):
        return pyarrow.type_for_alias(feature)
    if isinstance(feature, tuple):
        return pyarrow.int64()
    if isinstance(feature, dict):
        return pyarrow.struct([(name, _to_type(each)) for name, each in feature.items()])
    return pyarrow.list_(_to_type(feature[0]))
