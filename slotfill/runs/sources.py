"""Sources of user-defined parts: a run stores them, since a file may be edited after training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any

from slotfill.config.registry import user_part
from slotfill.errors import ConfigError, RunError, SlotfillError
from slotfill.files import parse_json, shorten_path

SOURCES = "parts.json"
"""The file of a run with the sources of its user-defined parts; without any, there is none."""

MAX_SOURCE = 2**20
"""In bytes; a file that has grown beyond it is not read to be compared."""

_SHAPE = {str: {"sha256": str, "source": str}}


def render_sources(files: Iterable[str]) -> str:
    """Return the content of parts.json: checksum and source of each file, by its path."""
    parts = {file: user_part(file) for file in files}
    sources = {file: {"sha256": part.checksum, "source": part.code} for file, part in parts.items()}
    return json.dumps(sources, ensure_ascii=False, indent=1) + "\n"


def check_sources(
    path: Path,
    content: bytes | None,
    files: Iterable[str],
    hint: str = "train the run again",
    error: type[SlotfillError] = RunError,
) -> None:
    """Raise `error` if one of `files` is not, or no longer, what the run was trained with.

    Args:
        path: The parts.json of the run, for messages.
        content: Its content; None if there is none.
        hint: What to do instead of restoring the file.
    """
    saved = {} if content is None else _parse(path, content, hint, error)
    for file in files:
        try:
            checksum = user_part(file).checksum
        except ConfigError:  # It was removed.
            checksum = ""
        if file not in saved or saved[file]["sha256"] != checksum:
            restore = f"restore it (its source is in {path}), or " if file in saved else ""
            raise error(
                f"{shorten_path(file)}: is not what {path.parent} was trained with; {restore}{hint}"
            )


def find_edited(path: Path, content: bytes) -> Iterator[str]:
    """Yield the files in the parts.json `path`, of this `content`, that were edited since.

    A file that is gone, as on another machine, or cannot be read, is none of them.
    """
    for file, part in _parse(path, content).items():
        with suppress(OSError, ValueError):
            status = Path(file).stat()
            is_small = status.st_size <= MAX_SOURCE
            if S_ISREG(status.st_mode) and not (
                is_small and sha256(Path(file).read_bytes()).hexdigest() == part["sha256"]
            ):
                yield file


def _parse(
    path: Path,
    content: bytes,
    hint: str = "train the run again",
    error: type[SlotfillError] = RunError,
) -> dict[str, dict[str, Any]]:
    """Return the content of parts.json; raises `error` with `hint` if it is not valid."""
    try:
        parts: dict[str, dict[str, Any]] = parse_json(content, _SHAPE)
    except ValueError as problem:
        raise error(f"{path}: {problem}; {hint}") from None
    return parts
