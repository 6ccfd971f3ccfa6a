"""Paths in a config: relative to the folder of its file, or to the current folder.

`os.path` rather than `pathlib`, which raises exceptions for unknown users and names too long.
"""
# ruff: noqa: PTH110, PTH111, PTH117

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from slotfill.config.yaml_reader import OverrideText
from slotfill.files import is_special_file, nearest_in_folder


@dataclass(frozen=True)
class PathContext:
    """What validators of paths need to know, as pydantic's validation context."""

    folder: Path | None = None
    """The folder of the config file."""
    need_data: bool = False
    """Whether files that are missing are errors."""


def resolve(text: str, context: PathContext) -> str:
    """Return `text` as an absolute path.

    A relative path in a file starts at the folder of the file, or at the current folder if there is
    nothing; one in an override starts at the current folder. An absolute path stays as it is.
    """
    if "\0" in text:
        raise config_error("a path cannot contain the character U+0000")
    folders = [Path.cwd()]
    if context.folder is not None and not isinstance(text, OverrideText):
        folders.insert(0, context.folder)
    expanded = os.path.expanduser(text)
    if os.path.isabs(expanded):
        return expanded
    paths = [os.path.realpath(folder / expanded) for folder in folders]
    return next(filter(os.path.exists, paths), paths[0])


def resolve_file(text: Any, info: ValidationInfo, kind: str = "file") -> Any:
    """Return a text as the path of a file, which must exist if data is needed."""
    if not isinstance(text, str) or info.context is None:
        return text
    path = resolve(text, info.context)
    if info.context.need_data and not os.path.exists(path):
        raise config_error(f"there is no {kind} {text}{nearest_in_folder(Path(path), Path(text))}")
    if info.context.need_data and is_special_file(Path(path)):
        raise config_error(f"{text} is not a regular file")
    return path


def resolve_file_or_folder(text: Any, info: ValidationInfo) -> Any:
    """Return a text as the path of a file or folder, which must exist if data is needed."""
    return resolve_file(text, info, "file or folder")


def resolve_folder_or_name(text: Any, info: ValidationInfo) -> Any:
    """Return a text as the path of a folder if there is one, or as it is: a run keeps the name."""
    if not isinstance(text, str) or not (info.context and info.context.need_data):
        return text
    path = resolve(text, info.context)
    return path if os.path.exists(path) else text


def config_error(message: str) -> PydanticCustomError:
    """Return the error that a validator raises, whose message is final."""
    return PydanticCustomError("config", "{message}", {"message": message})
