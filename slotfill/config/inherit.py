"""The config of a run that continues another: the keys of the other run, with other sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slotfill.config.models import NETWORK_KEYS, Config
from slotfill.config.sections import DataConfig
from slotfill.errors import ConfigError, ErrorDetail

_NOT_INHERITED = ("epochs", "patience", "text")
"""Keys of `train` that are about how the other run learned what it knows."""

_READING = ("scheme", "tokenizer", "normalization", "misaligned", "strict")
"""Keys of `data` that are inherited, since they apply to any file."""


def inherit_keys(data: dict[str, Any], base: Config) -> dict[str, Any]:
    """Return the keys of `data`, and those of `base` that it lacks but sentences and teachers."""
    inherited = base.model_dump(exclude={"data", "distil"})
    inherited["train"] |= dict.fromkeys(_NOT_INHERITED)
    if isinstance(train := data.get("train"), dict):
        data = {**data, "train": inherited["train"] | train}
    return inherited | data


def inherit_data(section: dict[str, Any], base: DataConfig) -> dict[str, Any]:
    """Return the keys of the section `data`, and those of `base` that it does not have.

    The sentences of `base` become the earlier ones; the format is that of `base` for a file with
    the same suffix.
    """
    given = {key: value for key, value in section.items() if value is not None}
    inherited: dict[str, Any] = {key: getattr(base, key) for key in _READING}
    if _suffix(given) == _suffix(base.model_dump()):
        inherited["format"] = base.model_dump()["format"]
    if base.path or base.train:
        inherited["earlier"] = base.model_dump()
    else:
        inherited |= {"valid": base.valid, "test": base.test, "holdout": 0.0}
    return inherited | given


def _suffix(section: dict[str, Any]) -> str:
    return Path(str(section.get("train") or section.get("path") or "")).suffix


def check_same_network(config: Config, base: Config, run: str) -> None:
    """Raise ConfigError for each key of `config` by which its network differs from that of `run`.

    `base` is the config of `run`.
    """
    plain, other = config.model_dump(), base.model_dump()
    errors = []
    for key in NETWORK_KEYS:
        section, _, name = key.rpartition(".")
        own, theirs = ((each[section] if section else each).get(name) for each in (plain, other))
        while isinstance(own, dict) and isinstance(theirs, dict) and own.keys() == theirs.keys():
            name = next((name for name in own if own[name] != theirs[name]), "")
            if not name:
                break
            key, own, theirs = f"{key}.{name}", own[name], theirs[name]
        if own != theirs:
            message = f"cannot change where training continues {run}; leave it out"
            if not isinstance(theirs, dict | list):
                message += f", or set it to {'null' if theirs is None else theirs}"
            errors.append(ErrorDetail(message, key))
    if errors:
        raise ConfigError(errors)
