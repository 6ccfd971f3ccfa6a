"""Detection: which format a file is of, by its name and by its first lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from slotfill.config.registry import FORMATS
from slotfill.data.formats.base import Format
from slotfill.data.yaml_values import read_documents
from slotfill.errors import DataError, UsageError
from slotfill.files import STANDARD_INPUT, read_lines

FormatPart = str | Mapping[str, Any] | None
"""A part of kind format; None and "auto" guess it from the path."""

_HEAD_LINES = 20
_HEAD_CHARACTERS = 20_000
"""How much of a file its format is guessed from: so many lines, and so much of each."""

_MIN_LINES = 2
"""How many lines a file has at least whose lines are no plain text, as `vitamin B-12` might be."""


def writable_formats() -> list[str]:
    """Return the names of the formats in which sentences can be written."""
    return [name for name, part in list_formats() if part.is_written()]


def format_from_suffix(path: Path) -> str | None:
    """Return the name of the format that `path` is named after, or None.

    Where several formats have the name, it is the one that the content looks like, if `path` is a
    file, or else the general one, if any: a file such as config.yml need not hold sentences. JSON
    and Parquet are recognized by their content whatever their name, as files named .jsonl may hold
    one array.
    """
    formats = list(list_formats())
    magic = _read_magic(path) if path.is_file() else b""
    if binary := [name for name, part in formats if part.magic and magic.startswith(part.magic)]:
        return binary[0]
    named = [(name, part) for name, part in formats if part.recognizes(path)]
    named.sort(key=lambda pair: not pair[1].is_general)
    if len(named) > 1 and path.is_file():
        head = _read_head(path)
        general = [(name, part) for name, part in named if part.is_general]
        is_json = bool(head) and head[0].lstrip()[:1] in ("{", "[")
        matching = _matching(formats if is_json else named, head)
        # Of those, the ones that the file is named after come first.
        matching.sort(key=lambda pair: (pair[1].is_general, pair not in named))
        named = matching or general
    return named[0][0] if named else None


def guess_format(path: Path) -> str:
    """Return the name of the format of `path`, from its name and its first lines."""
    if name := format_from_suffix(path):
        return name
    if path.is_dir():
        raise DataError(f"{path}: a folder of no format; give one of its files")
    head = _read_head(path)
    if not head:
        raise DataError(f"{path}: no sentences; the file is empty")
    for name, _ in _matching(list(list_formats()), head):
        return name
    if path.suffix.lower() in (".yaml", ".yml"):
        for document in read_documents(path):  # Raises DataError if it is not YAML.
            del document
        raise UsageError(
            f"{path}: no sentences of Rasa or Snips NLU; a config is given alone, to data, check or"
            " train, and names its own data"
        )
    names = ", ".join(FORMATS.names())
    raise DataError(
        f"{path}: the format is not clear from its name or content; set data.format (convert:"
        f" --from) to one of: {names}"
    )


def find_other_format(path: Path) -> str | None:
    """Return the name of the format that a file, which is not JSON, has instead of plain text."""
    try:
        head = _read_head(path)
    except DataError:  # What is not UTF-8 may yet be text.
        return None
    if len(head) < _MIN_LINES or head[0].lstrip().startswith(("{", "[")):
        return None
    matching = (name for name, _ in _matching(list(list_formats()), head) if name != "brackets")
    return next(matching, None)


def find_formats_by_content(path: Path) -> list[str]:
    """Return the names of the formats that the first lines of a file look like, likely ones first.

    Raises what `read_lines` raises.
    """
    return [name for name, _ in _matching(list(list_formats()), _read_head(path))]


def build_format(path: Path, format: FormatPart, extra: bool = False) -> Format:
    """Return the format of `path`, which is guessed without `format`; `extra` reads all it has."""
    name = guess_format(path) if format in (None, "auto") else format
    part: Format = FORMATS.build(name)
    if path == STANDARD_INPUT and not part.reads_standard_input:
        name = name if isinstance(name, str) else name["name"]
        raise UsageError(f"{path}: cannot be {name}; save it, and give the file or folder")
    part.reads_extra = extra
    return part


def list_formats(format: FormatPart = None) -> Iterator[tuple[str, type[Format]]]:
    """Yield the name and the class of `format`, or those of all formats."""
    if format in (None, "auto"):
        names = FORMATS.names()
    else:
        names = [format if isinstance(format, str) else format["name"]]
    for name in names:
        yield name, FORMATS.part(name).load()


def _matching(
    formats: Sequence[tuple[str, type[Format]]], head: Sequence[str]
) -> list[tuple[str, type[Format]]]:
    """Return those of `formats` that `head` looks like, the general ones last."""
    matching = [(name, part) for name, part in formats if part.looks_like(head)]
    return sorted(matching, key=lambda pair: pair[1].is_general)


def _read_magic(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(8)
    return b""


def _read_head(path: Path) -> list[str]:
    """Return the first lines of a file that are not empty."""
    lines = (line[:_HEAD_CHARACTERS] for _, line in read_lines(path) if line.strip())
    head: list[str] = []
    try:
        head.extend(islice(lines, _HEAD_LINES))
    except DataError:  # It is said when the file is read, with what is before it.
        if not head:
            raise
    return head
