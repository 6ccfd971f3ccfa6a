"""Configs by name or file: the built-in ones, and the YAML files of users."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from slotfill.config.models import Config
from slotfill.config.validate import parse_config
from slotfill.errors import ConfigError, ErrorDetail, UsageError, did_you_mean
from slotfill.files import is_special_file

MAX_BYTES = 1_000_000
"""The largest size of a config file."""


def builtin_config_dir() -> Path:
    """Return the folder of the built-in configs: in the installed package, or in the checkout."""
    package = Path(__file__).parent.parent
    return next(
        folder
        for folder in (package / "builtin" / "configs", package.parent / "configs")
        if folder.is_dir()
    )


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
    if inside or not Path(config).is_dir() or config in names:
        return inside or [config]
    if files := sorted(str(file) for file in Path(config).glob("*.yaml")):
        return files
    raise UsageError(f"{config}: no config in this folder; a config is a YAML file")


def config_summary(config: str) -> str:
    """Return the comment in the first line of a built-in config or a YAML file, or nothing."""
    is_builtin = config in builtin_config_names()
    path = builtin_config_dir() / f"{config}.yaml" if is_builtin else Path(config)
    first = path.read_text(encoding="utf-8-sig").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def load_config(
    config: str | None, overrides: Sequence[str] = (), *, need_data: bool = False
) -> tuple[str, Config]:
    """Return the name of a config and the config itself, validated and complete.

    Args:
        config: A built-in config or a YAML file. None is the built-in config `taipei`, or, if
            `overrides` set a key of `data`, the defaults; its name is then that of the data.
        need_data: As for `parse_config`.

    Raises:
        UsageError: There is no such config.
        ConfigError: The config has errors; it lists them all.
    """
    path, shown, text = _read(config, overrides)
    loaded = parse_config(text, shown, overrides, path.parent, need_data=need_data)
    return path.stem or Path(loaded.data.path or loaded.data.train or "config").stem, loaded


def _read(config: str | None, overrides: Sequence[str]) -> tuple[Path, str, str]:
    """Return the path of a config, its name in messages, and its text."""
    if config is None:
        if any(re.match(r"\s*data\s*[.=]", override) for override in overrides):
            return Path(), "command line", ""
        config = "taipei"
    path = Path(config)
    inside = [name for name in builtin_config_names() if name.startswith(f"{config.rstrip('/')}/")]
    if config in builtin_config_names():
        path = builtin_config_dir() / f"{config}.yaml"
        shown = f"configs/{config}.yaml"
    elif path.is_dir() or inside:
        hint = "" if inside else f"; if it contains sentences, use data.path={config}"
        raise UsageError(
            f"{config} is a folder{hint}; a config is a YAML file, or one of:"
            f" {', '.join(inside or builtin_config_names())}"
        )
    elif path.exists():
        shown = config
        if is_special_file(path):
            raise UsageError(f"{config}: not a regular file; a config is a YAML file")
        if path.suffix not in ("", ".yaml", ".yml"):
            raise UsageError(
                f"{config}: not a config, which is a .yaml file; if it contains sentences, use"
                f" data.path={config}"
            )
    else:
        near = [str(file) for file in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise UsageError(
            f"no config '{config}', neither a file nor built"
            f" in{did_you_mean(config, builtin_config_names() + near)}"
        )
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(f"{config}: larger than {MAX_BYTES:,} bytes, so not a config")
        return path, shown, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 (byte 0x{error.object[error.start]:02x})"
        raise ConfigError([ErrorDetail(message, source=f"{shown}:{line}")]) from None
    except OSError as error:
        raise UsageError(f"{config}: cannot be read: {error.strerror}") from None
