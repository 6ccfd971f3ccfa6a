"""Validation: YAML and overrides to a complete Config, before torch is imported.

All errors are found at once, each with `file:line: key: what is wrong; did you mean ...?`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from slotfill.config.messages import (
    KeyPath,
    Locations,
    describe_errors,
    format_value,
    is_within,
    join_key,
)
from slotfill.config.models import (
    DEFAULT_EMBEDDING,
    PART_KEYS,
    STACKABLE_PART_KEYS,
    Config,
    Range,
)
from slotfill.config.option_types import PathContext
from slotfill.config.registry import REGISTRIES
from slotfill.config.yaml_reader import MAX_NESTING, parse, parse_override
from slotfill.errors import ConfigError, ErrorDetail

_Model = TypeVar("_Model", bound=BaseModel)

MAPPINGS = ("tune", "thresholds", "train.slot_weights")
"""The keys whose values have names below them, which may contain dots."""

MAX_ERRORS = 20
"""The largest number of errors that are listed one by one."""


def parse_config(
    text: str,
    name: str,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    *,
    need_data: bool = False,
    is_packed: bool = False,
) -> Config:
    """Return the checked, complete config of a YAML text with overrides.

    Args:
        name: The name of the file in messages.
        folder: Where relative paths in the text start; if nothing is there, or without a folder,
            they start at the current folder, as those in overrides do.
        need_data: Whether the sentences must be there.
        is_packed: Whether it is of a packed run: its paths become names, without their folders.

    Raises:
        ConfigError: The config has errors; all of them are listed.
    """
    data, lines = parse(text, name)
    if not isinstance(data, dict):
        message = f"a config is keys and values, found {format_value(data)}"
        raise ConfigError([ErrorDetail(message, source=f"{name}:1")])
    supported = Config.model_fields["version"].default
    if (version := data.get("version", supported)) != supported:
        # The other keys may be right in that version.
        source = f"{name}:{lines['version']}"
        message = f"{format_value(version)}, but this version of slotfill reads version {supported}"
        raise ConfigError([ErrorDetail(message, "version", source)])
    overridden, errors = _apply_overrides(data, overrides)
    ranges = data.pop("tune") if isinstance(data.get("tune"), dict) else {}
    tune = {}
    with _collect(errors):
        config = _validate(Config, data, PathContext(folder, need_data, is_packed))
    for key, values in ranges.items():
        with _collect(errors):
            tune[key] = _check_range(data, key, values, PathContext(folder))
    for key in list(lines):
        if any(is_within(key, override) for override in overridden):
            del lines[key]
    locations = Locations(name, lines, overridden)
    if errors:
        errors = locations.sort(errors)
        if len(errors) > MAX_ERRORS:
            errors[MAX_ERRORS:] = [ErrorDetail(f"and {len(errors) - MAX_ERRORS} more errors")]
        raise ConfigError(errors)
    config.tune = tune
    config._locations = locations
    return config


@contextmanager
def _collect(errors: list[ErrorDetail]) -> Iterator[None]:
    """Add to `errors` those of a ConfigError in the `with` block."""
    try:
        yield
    except ConfigError as error:
        errors += error.errors


def _validate(model: type[_Model], data: Any, context: PathContext, section: str = "") -> _Model:
    """Return the validated model; raises ConfigError if the data of `section` has errors."""
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        errors = describe_errors(error, model, data)
        raise ConfigError(
            [
                ErrorDetail(message, join_key((*filter(None, [section]), *path)))
                for path, message in errors
            ]
        ) from None


def _apply_overrides(
    data: dict[str, Any], overrides: Sequence[str]
) -> tuple[set[str], list[ErrorDetail]]:
    """Set in `data` what `overrides` say; return the keys that are set, and the errors."""
    keys, errors = set(), []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        try:
            if not equals or not key:
                key = f"'{override}'"
                raise ValueError("an override is written key=value, as encoder.hidden_size=200")
            data.update(_replace_value(data, _parse_key(key), parse_override(text)))
            keys.add(key)
        except ValueError as error:
            errors.append(ErrorDetail(str(error), key, "command line"))
    return keys, errors


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
        return value
    step: Any = path[0]
    if join_key(above) in STACKABLE_PART_KEYS and isinstance(step, int):
        data = data if isinstance(data, list) else [data]
    if isinstance(data, list):
        if not isinstance(step, int) or step >= len(data):
            raise ValueError(f"'{step}' must be an index into the list of {len(data)}, from 0")
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


def _check_range(
    data: dict[str, Any], key: str, values: Any, context: PathContext
) -> Range | list[Any]:
    """Return what `slotfill tune` tries for `key` of the config in `data`.

    Raises ConfigError if it cannot try `values`, or if the config with one of them has errors.
    """
    section = f"tune.{key}"
    if key.partition(".")[0] in ("data", "version", "tune") or key == "train.seed":
        raise ConfigError(
            "is the same in all trials, so that they can be compared; it cannot be tuned", section
        )
    is_list = isinstance(values, list) and len(values) > 1
    is_flat = isinstance(values, dict) and not any(
        isinstance(value, dict | list) for value in values.values()
    )
    if not is_list and not is_flat:
        raise ConfigError(
            "must be a range, as {low: 2, high: 8}, or a list of at least two values; a key has"
            " dots, as train.epochs",
            section,
        )
    checked = values if is_list else _validate(Range, values, context, section)
    bounds = values if is_list else [values["low"], values["high"]]
    if errors := _find_errors(data, key, bounds, context):
        raise ConfigError(errors)
    if is_list or checked.low % 1 or checked.high % 1:
        return checked
    if not _find_errors(data, key, [checked.low + 0.5], context):  # It takes numbers in between.
        return checked
    if checked.step and checked.step % 1:
        raise ConfigError(f"must be an integer, found {checked.step:g}", f"{section}.step")
    return checked.to_integers()


def _find_errors(
    data: dict[str, Any], key: str, values: list[Any], context: PathContext
) -> list[ErrorDetail]:
    """Return what is wrong if `key` of the config in `data` is set to each of `values`."""
    messages = []
    for value in values:
        try:
            _validate(Config, _replace_value(data, _parse_key(key), value), context)
        except ValueError as error:
            messages.append(str(error))
        except ConfigError as error:
            messages += [
                detail.message if detail.key == key else f"{detail.key}: {detail.message}"
                for detail in error.errors
                if is_within(detail.key, key) or is_within(key, detail.key)
            ]
    return [ErrorDetail(message, f"tune.{key}") for message in messages]
