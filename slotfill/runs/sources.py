"""Sources of user-defined parts: a run stores them, since a file may be edited after training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from slotfill.config.registry import user_part
from slotfill.errors import ConfigError, RunError, SlotfillError
from slotfill.files import parse_json, shorten_path

SOURCES = "parts.json"
"""The file of a run with the sources of its user-defined parts; without any, there is none."""

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
    try:
        saved = {} if content is None else parse_json(content, _SHAPE)
    except ValueError as problem:
        raise error(f"{path}: {problem}; {hint}") from None
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
