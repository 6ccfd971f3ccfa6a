"""The types a part's options may have; `registry.py` reads them off the constructor's signature.

Besides these: `int`, `float`, `bool`, `str`, `None`, `Literal[...]`, `list[...]`, and unions with
`|`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

MAX_COUNT = 2**32 - 1
"""No count is larger: numbers above are slips of the keyboard."""

Size = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

FilePath = Annotated[str, "a path"]
"""A file that the part reads when training begins; a relative path is taken as those of `data` are.
"""

FolderOrName = Annotated[str, "a path or a name"]
"""A folder, taken likewise where it is there, or else a name that the part knows."""

SchemeName = Literal["iob1", "iob2", "bio", "bioes", "bilou"]
"""The tag schemes; `data/schemes.py` implements them."""

TokenizerName = Literal["whitespace", "words", "characters", "given"]
"""The tokenizers; `data/tokenizers.py` implements them."""

CellPart = str | dict[str, Any]
"""A part of kind cell: its name, or `{name: ..., option: ...}`."""
