"""Paths that users give: what no file can be called is refused before anything is done."""

from __future__ import annotations

import os
import re
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

from slotfill.errors import UsageError, shorten_text

MAX_NAME = 255
"""The largest number of bytes in the name of a file or folder, of common file systems."""

MAX_PATH = 4095
"""The same of a complete path, of Linux."""


def find_path_problem(path: str, room: int = 0) -> str:
    """Return why no file can have this path, with `room` bytes after its name, or nothing."""
    # Of surrogates, those from U+DC80 to U+DCFF stand for bytes of a name that is not UTF-8.
    if wrong := re.search("[\0\ud800-\udc7f\udd00-\udfff]", path):
        return f"a path cannot contain the character U+{ord(wrong[0]):04X}"
    *folders, name = (len(os.fsencode(name)) for name in re.split(r"[/\\]", path))
    for size, most in [(size, MAX_NAME) for size in folders] + [(name, MAX_NAME - room)]:
        if size > most:
            return f"the name of a file has at most {most} bytes, found {size:,}"
    if (size := len(os.fsencode(path))) + room > MAX_PATH:
        return f"a path has at most {MAX_PATH - room:,} bytes, found {size:,}"
    return ""


def to_path(path: Any, room: int = 0) -> Path:
    """Return what Python code gives as a path; raises UsageError if no file can be called so."""
    if not isinstance(path, str | Path) or not str(path):
        found = shorten(path)
        raise UsageError(f"the path of a file or folder is a text, as 'a.jsonl', not {found}")
    if problem := find_path_problem(str(Path(path)), room):
        raise UsageError(f"{shorten_text(str(path))}: {problem}")
    return Path(path)
