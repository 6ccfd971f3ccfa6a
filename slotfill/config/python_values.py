"""Values of a config that Python code gives, as YAML of one line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

from slotfill.config.yaml_reader import MAX_NESTING, escape_text
from slotfill.errors import ConfigError


def to_yaml(value: Any, key: str = "", above: tuple[int, ...] = ()) -> str:
    """Return `value`, which is at `key`, as YAML; values of NumPy are Python's, paths are texts.

    `above` are the ids of the values that contain it. Raises ConfigError, which names the key, for
    what no config can have.
    """
    if isinstance(value, Path):
        value = str(value)
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping | list | tuple):
        if id(value) in above:
            raise ConfigError("a value cannot contain itself", key)
        if len(above) > MAX_NESTING:
            raise ConfigError("nested too deep", key.partition(".")[0])
        above += (id(value),)
    if isinstance(value, Mapping):
        entries = (
            f"{_dump_key(name, key)}: {to_yaml(each, f'{key}.{name}'.lstrip('.'), above)}"
            for name, each in value.items()
        )
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, list | tuple):
        entries = (to_yaml(each, f"{key}.{i}", above) for i, each in enumerate(value))
        return f"[{', '.join(entries)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    if value is not None and not isinstance(value, str | bool | int | float):
        raise ConfigError(
            "a value is a text, a number, True, False, None, a list or a mapping, not"
            f" {shorten(value)}",
            key,
        )
    try:
        return escape_text(json.dumps(value, ensure_ascii=False))
    except ValueError:
        raise ConfigError("an integer of more than 4,300 digits", key) from None


def _dump_key(name: Any, section: str) -> str:
    """Return the key `name` in `section` as YAML."""
    if not isinstance(name, str):
        raise ConfigError(f"a key is a text, such as 'train', not {shorten(name)}", section)
    return escape_text(json.dumps(name, ensure_ascii=False))
