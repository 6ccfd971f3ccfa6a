"""Overrides: `encoder.hidden_size=200` on the command line sets one key in the data of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slotfill.config.messages import KeyPath, format_value, join_key
from slotfill.config.models import PART_KEYS, STACKABLE_PART_KEYS, Config
from slotfill.config.registry import REGISTRIES
from slotfill.config.yaml_reader import parse_override
from slotfill.errors import ErrorDetail


def apply_overrides(
    data: dict[str, Any], overrides: Sequence[str]
) -> tuple[list[str], list[ErrorDetail]]:
    """Set in `data` what `overrides` say; return the keys that are set, and the errors."""
    keys, errors = [], []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        try:
            if not equals or not key:
                raise ValueError("an override is written key=value, as encoder.hidden_size=200")
            set_value(data, key, parse_override(text))
            keys.append(key)
        except ValueError as error:
            key = key if equals and key else f"'{override}'"
            errors.append(ErrorDetail(str(error), key, "command line"))
    return keys, errors


def set_value(data: dict[str, Any], key: str, value: Any) -> None:
    """Set one key with dots in `data`, changing no value that is inside it in place.

    Raises ValueError if a key on the way cannot contain others.
    """
    section, _, rest = key.partition(".")
    path: KeyPath = tuple(int(step) if step.isdecimal() else step for step in key.split("."))
    if section == "tune" and rest:
        path = ("tune", rest)
    target: Any = data
    kind: str | None = None
    for depth in range(1, len(path)):
        target, kind = _descend(target, kind, path[:depth], path[depth])
    target[_last_step(target, path)] = value


def _descend(
    target: Any, kind: str | None, path: KeyPath, following: str | int
) -> tuple[Any, str | None]:
    """Replace the value at `path` in `target` by a copy that holds keys; return it and its kind.

    A part that is only its name, or only the default, becomes a mapping with that name. `kind` is
    the kind of part that `target` is, if it is one.
    """
    step: Any = _last_step(target, path)
    default = None
    if isinstance(target, dict):
        kind, default = _kind_and_default(kind, target, path)
    value = target.get(step) if isinstance(target, dict) else target[step]
    value = default if value is None else value
    if len(path) == 1 and path[0] in STACKABLE_PART_KEYS and isinstance(following, int):
        value = value if isinstance(value, list) else [value]
    if isinstance(value, str) and kind:
        value = {"name": value}
    elif value is None:
        value = {}
    elif not isinstance(value, dict | list):
        raise ValueError(f"{join_key(path)} is {format_value(value)} and has no keys")
    # A copy, since an alias in the YAML may stand for the same value elsewhere.
    target[step] = value.copy()
    return target[step], kind


def _last_step(target: Any, path: KeyPath) -> str | int:
    """Return the last step of `path` as a key, or as an index, of `target`."""
    step = path[-1]
    if not isinstance(target, list):
        return str(step)
    if isinstance(step, int) and step < len(target):
        return step
    raise ValueError(f"'{step}' must be an index into the list of {len(target)}, from 0")


def _kind_and_default(
    kind: str | None, above: Mapping[str, Any], path: KeyPath
) -> tuple[str | None, Any]:
    """Return the kind and the default of the part at `path`, if there is one; `above` holds it."""
    key = str(path[-1])
    if len(path) == 1 and key in PART_KEYS:
        return key, Config.model_fields[key].default
    if path == ("data", "format"):
        return "format", None
    if kind and above.get("name") in REGISTRIES[kind].names():
        option = REGISTRIES[kind].part(above["name"]).options.get(key)
        if option and option.part_kind:
            return option.part_kind, option.default
    return None, None
