"""Validation: YAML and overrides to a complete Config, before torch is imported.

All errors are found at once, each with `file:line: key: what is wrong; did you mean ...?`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from slotfill.config.inherit import inherit_data, inherit_keys
from slotfill.config.messages import (
    Locations,
    describe_errors,
    format_value,
    is_within,
    join_key,
)
from slotfill.config.models import Config
from slotfill.config.option_types import PathContext
from slotfill.config.overrides import apply_overrides, set_value
from slotfill.config.sections import Range
from slotfill.config.yaml_reader import parse
from slotfill.errors import ConfigError, ErrorDetail

_Model = TypeVar("_Model", bound=BaseModel)


def parse_config(
    text: str,
    name: str,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    *,
    need_data: bool = False,
    is_packed: bool = False,
    base: Config | None = None,
) -> Config:
    """Return the checked, complete config of a YAML text with overrides.

    Args:
        name: The name of the file in messages.
        folder: Where relative paths in the text start; if nothing is there, or without a folder,
            they start at the current folder, as those in overrides do.
        need_data: Whether the sentences must be there.
        is_packed: Whether it is of a packed run: its paths become names, without their folders.
        base: The config of the run that training continues, which has the keys that are not given.

    Raises:
        ConfigError: The config has errors; all of them are listed.
    """
    data, lines = parse(text, name)
    if not isinstance(data, dict):
        message = f"a config is keys and values, found {format_value(data)}"
        raise ConfigError([ErrorDetail(message, source=f"{name}:1")])
    supported = Config.model_fields["version"].default
    if not _is_same_integer(version := data.get("version", supported), supported):
        # The other keys may be right in that version.
        source = f"{name}:{lines['version']}"
        message = f"{format_value(version)}, but this version of slotfill reads version {supported}"
        raise ConfigError([ErrorDetail(message, "version", source)])
    data = data if base is None else inherit_keys(data, base)
    overridden, errors = apply_overrides(data, overrides)
    if base is not None and isinstance(section := data.get("data") or {}, dict):
        data["data"] = inherit_data(section, base.data)
    ranges = data.pop("tune") if isinstance(data.get("tune"), dict) else {}
    tune = {}
    with _collect(errors):
        config = _validate(Config, data, PathContext(folder, need_data, is_packed))
    for key, values in ranges.items():
        with _collect(errors):
            tune[key] = _check_range(data, key, values, PathContext(folder, need_data))
    for key in list(lines):
        if any(is_within(key, override) for override in overridden):
            del lines[key]
    locations = Locations(name, lines, overridden)
    if errors:
        raise ConfigError(locations.sort(errors))
    config.tune = tune
    config._locations = locations
    return config


def _is_same_integer(value: Any, expected: int) -> bool:
    """Whether `value` is `expected`, and not `true` or `1.0`, which Python holds for equal to 1."""
    return type(value) is int and value == expected


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
            _validate(Config, set_value(data, key, value), context)
        except ValueError as error:
            messages.append(str(error))
        except ConfigError as error:
            messages += [
                detail.message if detail.key == key else f"{detail.key}: {detail.message}"
                for detail in error.errors
                if is_within(detail.key, key) or is_within(key, detail.key)
            ]
    return [ErrorDetail(message, f"tune.{key}") for message in messages]
