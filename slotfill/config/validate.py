"""Validation: YAML and overrides to a complete Config, before torch is imported.

All errors are found at once, each with `file:line: key: what is wrong; did you mean ...?`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from slotfill.config.messages import (
    Locations,
    describe_errors,
    format_value,
    is_within,
    join_key,
)
from slotfill.config.models import Config, Range
from slotfill.config.overrides import apply_overrides, set_value
from slotfill.config.option_types import PathContext
from slotfill.config.yaml_reader import parse
from slotfill.errors import ConfigError, ErrorDetail

MAX_ERRORS = 20
"""The largest number of errors that are listed one by one."""


def parse_config(
    text: str,
    name: str,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    *,
    need_data: bool = False,
) -> Config:
    """Return the checked, complete config of a YAML text with overrides.

    Args:
        name: The name of the file in messages.
        folder: Where relative paths in the text start; if nothing is there, or without a folder,
            they start at the current folder, as those in overrides do.
        need_data: Whether the sentences must be there.

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
    overridden, errors = apply_overrides(data, overrides)
    context = PathContext(folder, need_data)
    ranges = data.pop("tune") if isinstance(data.get("tune"), dict) else {}
    config, details = _validate(Config, data, context)
    errors += details
    tune = {}
    for key, values in ranges.items():
        tune[key], details = _check_range(data, key, values, PathContext(folder))
        errors += details
    for key in list(lines):
        if any(is_within(key, override) for override in overridden):
            del lines[key]
    locations = Locations(name, lines, set(overridden))
    if errors:
        errors = locations.sort(errors)
        if len(errors) > MAX_ERRORS:
            errors[MAX_ERRORS:] = [ErrorDetail(f"and {len(errors) - MAX_ERRORS} more errors")]
        raise ConfigError(errors)
    config.tune = tune
    config._locations = locations
    return config


def _validate(
    model: type[BaseModel], data: Any, context: PathContext, section: str = ""
) -> tuple[Any, list[ErrorDetail]]:
    """Return the validated model, or None and what is wrong in the data of `section`."""
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as error:
        errors = describe_errors(error, model, data)
        return None, [
            ErrorDetail(message, join_key((*filter(None, [section]), *path)))
            for path, message in errors
        ]


def _check_range(
    data: dict[str, Any], key: str, values: Any, context: PathContext
) -> tuple[Any, list[ErrorDetail]]:
    """Return what `slotfill tune` tries for `key` of the config in `data`, and the errors in it."""
    section = f"tune.{key}"
    if reason := _why_not_tunable(key, values):
        return None, [ErrorDetail(reason, section)]
    if isinstance(values, list):
        return values, _check_values(data, key, values, context)
    checked, errors = _validate(Range, values, context, section)
    if checked is None:
        return None, errors
    errors = _check_values(data, key, [values["low"], values["high"]], context)
    takes_floats = not _check_values(data, key, [checked.low + 0.5], context)
    if errors or takes_floats or checked.low % 1 or checked.high % 1:
        return checked, errors
    if checked.step and checked.step % 1:
        message = f"must be an integer, found {checked.step:g}"
        return None, [ErrorDetail(message, f"{section}.step")]
    return checked.to_integers(), []


def _why_not_tunable(key: str, values: Any) -> str:
    """Return why `slotfill tune` cannot try `values` for `key`, or nothing."""
    if key.partition(".")[0] in ("data", "version", "tune") or key == "train.seed":
        return "is the same in all trials, so that they can be compared; it cannot be tuned"
    is_flat = isinstance(values, dict) and not any(
        isinstance(value, dict | list) for value in values.values()
    )
    if is_flat or (isinstance(values, list) and len(values) > 1):
        return ""
    return (
        "must be a range, as {low: 2, high: 8}, or a list of at least two values; a key has dots,"
        " as train.epochs"
    )


def _check_values(
    data: dict[str, Any], key: str, values: list[Any], context: PathContext
) -> list[ErrorDetail]:
    """Return what is wrong if `key` of the config in `data` is set to each of `values`."""
    errors = []
    for value in values:
        trial = dict(data)
        try:
            set_value(trial, key, value)
        except ValueError as error:
            errors.append(ErrorDetail(str(error), f"tune.{key}"))
            continue
        for detail in _validate(Config, trial, context)[1]:
            if is_within(detail.key, key) or is_within(key, detail.key):
                message = detail.message if detail.key == key else f"{detail.key}: {detail.message}"
                errors.append(ErrorDetail(message, f"tune.{key}"))
    return errors
