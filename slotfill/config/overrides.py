"""Overrides: what a command line or Python code sets in a config, key by key.

A mapping sets each key in it, as keys with dots do, and leaves the others as they are. Everything
else replaces what was there: a number, a list, a part that is given by its name, and null, which
empties a section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slotfill.config.messages import KeyPath, format_value, join_key
from slotfill.config.models import (
    DEFAULT_EMBEDDING,
    PART_KEYS,
    SECTIONS,
    STACKABLE_PART_KEYS,
    Config,
)
from slotfill.config.registry import REGISTRIES
from slotfill.config.yaml_reader import MAX_NESTING, parse_override
from slotfill.errors import ErrorDetail, UsageError, shorten_text

MAPPINGS = (
    "tune",
    "thresholds",
    "synonyms",
    "data.slots",
    "train.slot_weights",
    "resolve.slots",
)
"""The keys whose values have names below them, which may contain dots."""

_BELOW_MAPPINGS = tuple(f"{key}." for key in MAPPINGS)


def flatten(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keys that are set where `key` is set to `value`, each with its value.

    Of `encoder`, `{name: recurrent, cell: gru}` sets `encoder` to `{name: recurrent}`, and then
    `encoder.cell`.
    """
    if not isinstance(value, Mapping) or not value or key.startswith(_BELOW_MAPPINGS):
        yield key, value
        return
    is_part = "name" in value and key not in (*SECTIONS, *MAPPINGS)
    if is_part:
        yield key, {"name": value["name"]}
    for inner, each in value.items():
        if not is_part or inner != "name":
            yield from flatten(f"{key}.{inner}", each)


def check_quotes(words: Sequence[str]) -> None:
    """Raise UsageError if a shell has split a value in braces or brackets that is not quoted.

    `words` are those of a command line, in order.
    """
    for index, word in enumerate(words):
        key, _, value = word.partition("=")
        whole = ""
        if value[:1] in ("{", "[") and not _is_complete(value):
            longer = (" ".join(words[index:end]) for end in range(index + 2, len(words) + 1))
            whole = next((each for each in longer if _is_complete(each.partition("=")[2])), "")
        elif _EXPANDED.match(word):
            # Bash makes `a={b:1,c:2}` the words `a=b:1 a=c:2`.
            values = [each.partition("=")[2] for each in words if each.startswith(f"{key}=")]
            if values[1:] and all(map(_EXPANDED.match, words[index : index + len(values)])):
                whole = f"{key}={{{', '.join(values)}}}".replace(":", ": ")
        if whole:
            raise UsageError(f"the shell has split {key}, which needs quotes: '{whole}'")


_EXPANDED = re.compile(r"[\w.]+=\w+:[^/\s]")
"""A word that Bash may have made of a value in braces."""


def _is_complete(value: str) -> bool:
    """Whether the text of a value can be read as YAML."""
    try:
        parse_override(value)
    except ValueError:
        return False
    return True


def overridden_keys(overrides: Sequence[str]) -> list[str]:
    """Return the keys that `overrides` set; those that are not valid have none."""
    return [key for override in overrides for key, _ in _read(override, [])]


def _read(override: str, errors: list[ErrorDetail]) -> list[tuple[str, Any]]:
    """Return the keys of an override with their values; none, and an error, if it is not valid."""
    key, equals, text = override.partition("=")
    key = key.strip()
    try:
        if not equals or not key:
            key = f"'{shorten_text(override, 60)}'"
            raise ValueError("an override is written key=value, as encoder.hidden_size=200")
        return list(flatten(key, parse_override(text)))
    except ValueError as error:
        errors.append(ErrorDetail(str(error), key, "command line"))
        return []


def apply_overrides(
    data: dict[str, Any], overrides: Sequence[str]
) -> tuple[set[str], list[ErrorDetail]]:
    """Set in `data` what `overrides` say; return the keys that are set, and the errors."""
    keys = set()
    errors: list[ErrorDetail] = []
    for override in overrides:
        for key, value in _read(override, errors):
            try:
                data.update(set_value(data, key, value))
                keys.add(key)
            except ValueError as error:
                errors.append(ErrorDetail(str(error), key, "command line"))
    return keys, errors


def set_value(data: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of the config `data` with `value` at `key`; raises ValueError if it cannot."""
    copy: dict[str, Any] = _replace_value(data, _parse_key(key), value)
    return copy


def _parse_key(key: str) -> KeyPath:
    """Return the path of a key with dots, of which a name below one of `MAPPINGS` has one step."""
    section = next((each for each in MAPPINGS if key.startswith(f"{each}.")), "")
    steps = key.split(".", section.count(".") + 1 if section else -1)
    if len(steps) > MAX_NESTING:
        raise ValueError("nested too deep")
    return tuple(int(step) if step.isdecimal() else step for step in steps)


def _replace_value(
    data: Any, path: KeyPath, value: Any, kind: str | None = None, above: KeyPath = ()
) -> Any:
    """Return a copy of `data`, which is at the path `above`, with `value` at `path` in it.

    `kind` is the kind of part that `data` is, if it is one; a part that is only its name becomes a
    mapping. Raises ValueError if a key on the way cannot contain others.
    """
    if not path:
        if value is None and join_key(above) in (*SECTIONS, *MAPPINGS):
            return {}
        return data if value == {} and (kind or isinstance(data, dict)) else value
    step: Any = path[0]
    if join_key(above) in STACKABLE_PART_KEYS and isinstance(step, int):
        data = data if isinstance(data, list) else [data]
    if isinstance(data, list):
        if not isinstance(step, int) or step >= len(data):
            found = shorten_text(str(step))
            raise ValueError(f"'{found}' must be an index into the list of {len(data)}, from 0")
        inner = data[step]
    else:
        if isinstance(data, str) and kind:
            data = {"name": data}
        elif data is None:
            data = {}
        elif not isinstance(data, dict):
            raise ValueError(f"{join_key(above)} is {format_value(data)} and has no keys")
        step = str(step)
        kind, default = _kind_and_default(kind, data, (*above, step))
        inner = default if data.get(step) is None else data[step]
    copy = data.copy()
    copy[step] = _replace_value(inner, path[1:], value, kind, (*above, step))
    return copy


def _kind_and_default(
    kind: str | None, above: Mapping[str, Any], path: KeyPath
) -> tuple[str | None, Any]:
    """Return the kind and the default of the part at `path`, if there is one; `above` holds it."""
    key = str(path[-1])
    if path == ("embedding",):
        return key, list(DEFAULT_EMBEDDING)
    if len(path) == 1 and key in PART_KEYS:
        return key, Config.model_fields[key].default
    if path == ("data", "format"):
        return "format", None
    if path == ("train", "log"):
        return "logger", "csv"
    if kind and above.get("name") in REGISTRIES[kind].names():
        option = REGISTRIES[kind].part(above["name"]).options.get(key)
        if option and option.part_kind:
            return option.part_kind, option.default
    return None, None
