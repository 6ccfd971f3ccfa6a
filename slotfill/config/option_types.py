"""The types of a part's options, which `registry.py` reads from its constructor.

Besides these: `int`, `float`, `bool`, `str`, `None`, `Literal[...]`, `list[...]`, and unions with
`|`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from slotfill.config.paths import resolve_file, resolve_file_or_folder, resolve_folder_or_name

__all__ = [
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
    "SchemeName",
    "Size",
    "TokenizerName",
]

MAX_COUNT = 2**32 - 1
"""The largest count: a larger number is a typing error."""

MAX_SIZE = 2**20
"""The largest size, for the same reason."""

MAX_DEPTH = 100
"""The largest number of layers, networks or parts, which are built one by one."""

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
DepthOrZero = Annotated[int, Field(ge=0, le=MAX_DEPTH)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

FilePath = Annotated[str, BeforeValidator(resolve_file)]
"""A file that the part reads before training; relative paths are resolved as those of `data`."""

FileOrFolder = Annotated[str, BeforeValidator(resolve_file_or_folder)]
"""A file or a folder of sentences."""

FolderOrName = Annotated[str, BeforeValidator(resolve_folder_or_name)]
"""A folder, or else a name that the part knows."""

SchemeName = Literal["iob1", "iob2", "bio", "bioes", "bilou"]
"""The tag schemes; `data/schemes.py` implements them."""

TokenizerName = Literal["whitespace", "words", "characters", "given"]
"""The tokenizers; `data/tokenizers.py` implements them."""

CellPart = str | Mapping[str, Any]
"""A part of kind cell: its name, or `{name: ..., option: ...}`."""
