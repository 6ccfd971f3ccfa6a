"""The types of a part's options, which `registry.py` reads from its constructor.

Besides these: `int`, `float`, `bool`, `str`, `None`, `Literal[...]`, `list[...]`, and unions with
`|`.
"""
# `os.path` rather than `pathlib`, which raises exceptions for unknown users and names too long.
# ruff: noqa: PTH110, PTH111, PTH117

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WrapValidator
from pydantic_core import PydanticCustomError

from slotfill.config.yaml_reader import OverrideText
from slotfill.errors import shorten_text
from slotfill.files import is_special_file, nearest_in_folder
from slotfill.paths import find_path_problem

__all__ = [
    "BeamSize",
    "CellPart",
    "Count",
    "Depth",
    "DepthOrZero",
    "FileOrFolder",
    "FilePath",
    "FolderOrName",
    "Fraction",
    "NonNegative",
    "Positive",
    "Probability",
    "SchemeName",
    "Size",
    "TokenizerName",
]

MAX_COUNT = 2**32 - 1
"""The largest count: a larger number is a typing error."""

MAX_SIZE = 2**20
"""The largest size, for the same reason."""

MAX_BEAM = 1000
"""The largest number of hypotheses; a few are enough."""

MAX_DEPTH = 100
"""The largest number of layers, networks or parts, which are built one by one."""


MAX_FLOAT32 = (2 - 2**-23) * 2.0**127
"""The largest number that torch, which computes in 32 bits, can hold."""

MIN_FLOAT32 = 2.0**-126
"""The smallest above 0 with all its digits."""


@dataclass(frozen=True)
class PathContext:
    """What validators of paths need to know, as pydantic's validation context."""

    folder: Path | None = None
    """The folder of the config file."""
    need_data: bool = False
    """Whether files that are missing are errors."""
    is_packed: bool = False
    """Whether the config is that of a packed run: paths in it are names, without folders."""


def config_error(message: str) -> PydanticCustomError:
    """Return the error that a validator raises, whose message is final."""
    return PydanticCustomError("config", "{message}", {"message": message})


def check_float32(value: Any) -> None:
    """Raise the error of a validator if torch cannot hold a number, `value` or in that list.

    The bound of an option of integers is that of 64 bits.
    """
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int) and not -(2**63) <= number < 2**63:
            raise config_error(f"must be an integer of 64 bits, found {str(number)[:20]}...")
        if isinstance(number, float) and number and not MIN_FLOAT32 <= abs(number) <= MAX_FLOAT32:
            large = abs(number) > 1
            bound = (-1 if number < 0 else 1) * (MAX_FLOAT32 if large else MIN_FLOAT32)
            relation = "at most" if large == (number > 0) else "at least"
            allowed = f"{'' if large else '0 or '}{relation} {bound:.3g}"
            raise config_error(f"must be {allowed}, as 32-bit numbers are, found {number:g}")


def resolve(text: str, context: PathContext) -> str:
    """Return `text` as an absolute path.

    A relative path in a file starts at the folder of the file, or at the current folder if there is
    nothing; one in an override starts at the current folder. An absolute path stays as it is.
    """
    if not text:
        raise config_error("the path is empty")
    if problem := find_path_problem(text):
        raise config_error(f"{shorten_text(text)}: {problem}")
    if context.is_packed and not isinstance(text, OverrideText):
        return file_name(text)
    folders = [Path.cwd()]
    if context.folder is not None and not isinstance(text, OverrideText):
        folders.insert(0, context.folder)
    expanded = os.path.expanduser(text)
    if os.path.isabs(expanded):
        return expanded
    paths = [os.path.realpath(folder / expanded) for folder in folders]
    path = next(filter(os.path.exists, paths), paths[0])
    if path.encode(errors="ignore").decode() != path:
        raise config_error(f"{path!a}: not UTF-8, so no config can hold it; rename the folder")
    return path


def file_name(path: str) -> str:
    """Return the last part of a path, of any system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def _path_resolver(kind: str) -> BeforeValidator:
    """Return the validator of the path of a `kind`, which must exist if data is needed."""

    def resolve_path(text: Any, info: ValidationInfo) -> Any:
        if not isinstance(text, str) or info.context is None:
            return text
        path = Path(given := resolve(text, info.context))
        if info.context.need_data and not os.path.exists(path):
            raise config_error(f"there is no {kind} {text}{nearest_in_folder(path, Path(text))}")
        if info.context.need_data and is_special_file(path):
            raise config_error(f"{text} is not a regular file")
        if info.context.need_data and kind == "file" and path.is_dir():
            raise config_error(f"{text} is a folder where a file is expected")
        return given

    return BeforeValidator(resolve_path)


def _resolve_folder(text: Any, info: ValidationInfo) -> Any:
    """Return a text as the path of a folder if there is one, or as it is: a run keeps the name."""
    if text == "":
        raise config_error("the name or path is empty")
    if isinstance(text, str) and info.context and info.context.is_packed:
        return file_name(text) if os.path.isabs(text) else text
    if not isinstance(text, str) or not (info.context and info.context.need_data):
        return text
    path = resolve(text, info.context)
    return path if os.path.exists(path) else text


Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
"""A whole number from 1, such as a number of units."""

BeamSize = Annotated[int, Field(ge=1, le=MAX_BEAM)]
"""A number of hypotheses, from 1."""

Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
"""A number of layers or parts, from 1."""

DepthOrZero = Annotated[int, Field(ge=0, le=MAX_DEPTH)]
"""A number of layers or parts, from 0."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A whole number from 0."""

Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""

NonNegative = Annotated[float, Field(ge=0)]
"""A number from 0."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A number from 0 to below 1, such as a rate of dropout."""

Probability = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""

FilePath = Annotated[str, _path_resolver("file")]
"""A file that the part reads before training; relative paths are resolved as those of `data`."""

FileOrFolder = Annotated[str, _path_resolver("file or folder")]
"""A file or a folder of sentences."""

FolderOrName = Annotated[str, BeforeValidator(_resolve_folder)]
"""A folder, or else a name that the part knows."""

SchemeName = Literal["iob1", "iob2", "bio", "bioes", "bilou"]
"""The tag schemes; `data/schemes.py` implements them."""


def _resolve_tokenizer(text: Any, check_name: Any, info: ValidationInfo) -> Any:
    """Return the name of a tokenizer, or the path of the file of a user's."""
    if not isinstance(text, str) or not text.endswith(".py"):
        return check_name(text)
    path = resolve(text, info.context or PathContext())
    if info.context and info.context.need_data and not os.path.exists(path):
        raise config_error(f"there is no file {text}{nearest_in_folder(Path(path), Path(text))}")
    return path


TokenizerName = Annotated[
    Literal["whitespace", "words", "characters", "given"], WrapValidator(_resolve_tokenizer)
]
"""The tokenizers of `data/tokenizers.py`, or a file with another one."""

CellPart = str | Mapping[str, Any]
"""A part of kind cell: its name, or `{name: ..., option: ...}`."""
