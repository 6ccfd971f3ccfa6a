"""Configs by name or file: the built-in ones, and the YAML files of users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from reprlib import repr as shorten
from typing import Any, cast

from slotfill.config.models import Config
from slotfill.config.part_config import PartConfig
from slotfill.config.python_values import to_yaml
from slotfill.config.validate import parse_config
from slotfill.errors import ConfigError, ErrorDetail, UsageError, did_you_mean, shorten_text
from slotfill.files import is_special_file
from slotfill.paths import find_path_problem

_SENTENCES = re.compile(r"^(?:nlu[ \t]*:|type[ \t]*:[ \t]*['\"]?(?:intent|entity)\b)", re.MULTILINE)
"""What the files of sentences have that are YAML, too."""

MAX_BYTES = 1_000_000
"""The largest size of a config file."""


def builtin_config_dir() -> Path:
    """Return the folder of the built-in configs: in the installed package, or in the checkout."""
    package = Path(__file__).parent.parent
    installed = package / "builtin" / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


@cache
def builtin_config_names() -> list[str]:
    """Return the names of the built-in configs, sorted."""
    folder = builtin_config_dir()
    files = folder.rglob("*.yaml")
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files)


def expand_configs(config: str) -> list[str]:
    """Return the configs in the folder `config`, sorted, or `config` itself if it is no folder.

    A built-in folder, such as `lab`, is preferred. Raises UsageError for a folder without configs.
    """
    folder = config.rstrip("/")
    names = builtin_config_names()
    inside = [name for name in names if folder and name.rpartition("/")[0] == folder]
    if inside or not config or not Path(config).is_dir() or config in names:
        return inside or [config]
    if files := sorted(str(file) for file in Path(config).glob("*.yaml")):
        return files
    raise UsageError(f"{config}: no config in this folder; a config is a YAML file")


def config_summary(config: str) -> str:
    """Return the comment in the first line of a built-in config or a YAML file, or nothing."""
    first = _find(config)[0].read_text(encoding="utf-8-sig").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def load_config(
    config: str | None,
    overrides: Sequence[str] = (),
    *,
    need_data: bool = False,
    base: Config | None = None,
) -> tuple[str, Config]:
    """Return the name of a config and the config itself, validated and complete.

    Args:
        config: A built-in config or a YAML file. None is the built-in config `taipei`, or, if
            `overrides` set a key of `data` or there is a `base`, the defaults; its name is then
            that of the data.
        need_data: As for `parse_config`.
        base: As for `parse_config`.

    Raises:
        UsageError: There is no such config.
        ConfigError: The config has errors; it lists them all.
    """
    config = default_config(overrides) if config is None and base is None else config
    if config is None:
        loaded = parse_config("", "command line", overrides, Path(), need_data=need_data, base=base)
        return _name_of(loaded), loaded
    path, shown = _find(config)
    text = _read(path, shown)
    if _SENTENCES.search(text):
        raise UsageError(
            f"{config}: sentences of Rasa or Snips NLU, not a config; use data.path={config}, or"
            f" slotfill init {config}, which writes a config for them"
        )
    loaded = parse_config(text, shown, overrides, path.parent, need_data=need_data, base=base)
    return path.stem, loaded


def compose_config(
    config: str | Path | Mapping[str, Any] | Config | None,
    overrides: Mapping[str, Any],
    base: Config | None = None,
) -> tuple[str, Config]:
    """Return the name of a config that Python code gives, and the config with `overrides` by key.

    The keys of `overrides` have dots; a mapping is the content of a YAML file; `base` is that of
    `parse_config`. Raises what `load_config` and `to_words` raise.
    """
    changes = to_words(overrides)
    try:
        if config is None or isinstance(config, str | Path):
            name = None if config is None else str(config)
            return load_config(name, changes, need_data=True, base=base)
        data = config.model_dump() if isinstance(config, Config) else config
        if isinstance(data, Mapping) and (key := next(filter(_has_dot, data), None)):
            section, _, name = key.partition(".")
            hint = f"write {{{section!r}: {{{name!r}: ...}}}}, or give it as an override"
            raise ConfigError(f"a key of a config has no dots; {hint}", key)
        loaded = parse_config(to_yaml(data), "config", changes, Path(), need_data=True, base=base)
        return _name_of(loaded), loaded
    except ConfigError as error:
        inside = ("command line", "config:1")
        details = [replace(e, source="") if e.source in inside else e for e in error.errors]
        raise ConfigError(details) from None


def to_words(overrides: Mapping[str, Any]) -> list[str]:
    """Return overrides by key as the words of a command line, `key=value`.

    Raises UsageError for no mapping.
    """
    if not isinstance(overrides, Mapping):
        found = shorten(overrides)
        raise UsageError(
            f"overrides are values by their keys, as {{'train.epochs': 5}}, not {found}"
        )
    for key in overrides:
        if not isinstance(key, str) or not key.strip() or "=" in key:
            raise UsageError(f"the key of an override is a text, as 'train.epochs', not {key!r}")
    return [f"{key}={to_yaml(value, key)}" for key, value in overrides.items()]


def _has_dot(key: Any) -> bool:
    return isinstance(key, str) and "." in key


def check_format(format: Mapping[str, Any]) -> PartConfig:
    """Return the format that Python code gives, with all its options; raises ConfigError."""
    try:
        part = parse_config(to_yaml({"data": {"format": format}}), "format").data.format
    except ConfigError as error:
        keys = [each.key.removeprefix("data.") for each in error.errors]
        details = zip(error.errors, keys, strict=True)
        raise ConfigError([replace(e, key=key, source="") for e, key in details]) from None
    return cast(PartConfig, part)


def _name_of(config: Config) -> str:
    """Return the name of a config without a file: that of its data."""
    return Path(config.data.path or config.data.train or "config").stem


def default_config(overrides: Sequence[str]) -> str | None:
    """Return the config that is loaded if none is given; None for the defaults, without a file."""
    sets_data = any(re.match(r"\s*data\s*[.=]", override) for override in overrides)
    return None if sets_data else "taipei"


def is_config(word: str) -> bool:
    """Return whether `word` is a config, as opposed to sentences, which may be in YAML too."""
    path = Path(word)
    if not word or word in builtin_config_names() or not path.exists():
        return path.suffix in ("", ".yaml", ".yml")
    if path.suffix not in (".yaml", ".yml") or path.is_dir():
        return False
    return is_special_file(path) or not _SENTENCES.search(_read(path, word))


def _find(config: str) -> tuple[Path, str]:
    """Return the path of a config, and its name in messages; raises UsageError if it is none."""
    names = builtin_config_names()
    if not config:
        raise UsageError("CONFIG is empty; give a built-in config or a YAML file")
    if config in names:
        return builtin_config_dir() / f"{config}.yaml", f"configs/{config}.yaml"
    if problem := find_path_problem(config):
        raise UsageError(f"no config {shorten_text(config)}: {problem}")
    path = Path(config)
    inside = [name for name in names if name.startswith(f"{config.rstrip('/')}/")]
    hint = f"; if it contains sentences, use data.path={config}"
    if inside or path.is_dir():
        raise UsageError(
            f"{config} is a folder{'' if inside else hint}; a config is a YAML file, or one of:"
            f" {', '.join(inside or names)}"
        )
    if not path.exists():
        near = [str(file) for file in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise UsageError(
            f"no config '{config}', neither a file nor built in{did_you_mean(config, names + near)}"
        )
    if is_special_file(path):
        raise UsageError(f"{config}: not a regular file; a config is a YAML file")
    if path.suffix not in ("", ".yaml", ".yml"):
        raise UsageError(f"{config}: not a config, which is a .yaml file{hint}")
    return path, config


def _read(path: Path, shown: str) -> str:
    """Return the text of a config that messages call `shown`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{shown}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{shown}: larger than {MAX_BYTES:,} bytes, so not a config")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 (byte 0x{error.object[error.start]:02x})"
        raise ConfigError([ErrorDetail(message, source=f"{shown}:{line}")]) from None
