"""Check: YAML and overrides to a complete Config, before anything heavy is imported.

Every fault is found in one go, each with `file:line: key: what is wrong; did you mean ...?`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slotfill.config.messages import fields_at, message_of, place_of, shown
from slotfill.config.models import (
    PART_KEYS,
    RENAMED_KEYS,
    STACKABLE_PART_KEYS,
    Config,
    DataConfig,
    Part,
    Range,
    part_model,
    why_not_tunable,
)
from slotfill.config.option_types import FilePath, FolderOrName
from slotfill.config.registry import FORMATS, REGISTRIES, Registry
from slotfill.config.yaml_reader import Path as KeyPath
from slotfill.config.yaml_reader import join_key, parse, parse_value
from slotfill.errors import ConfigError, did_you_mean

_LAST = 10**9
"""Where faults in overrides stand in the list: after all lines."""


def parse_config(
    text: str,
    name: str,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    *,
    need_data: bool = False,
) -> Config:
    """Return the checked, complete config of YAML `text` with `overrides` such as
    `encoder.hidden_size=200`.

    `name` stands in messages. A relative path is taken from `folder`, or where nothing is there
    from the current folder; in an override from the current folder. With `need_data` there must be
    data, where the config says. Raises ConfigError that lists every fault.
    """
    data, lines = parse(text, name)
    return _Check(data, lines, name, overrides, folder, need_data).config()


def placed(text: str, name: str, overrides: Sequence[str], faults: Sequence[str]) -> list[str]:
    """Return `faults`, each after the key that has it, with its place in the config `text`, or in
    `overrides`.
    """
    data, lines = parse(text, name)
    check = _Check(data, lines, name, overrides, None, False)
    for fault in faults:
        key, _, message = fault.partition(": ")
        check.fault(_path(key), message)
    return sorted(check.faults, key=check.faults.__getitem__)


def _path(key: str) -> KeyPath:
    return tuple(int(step) if step.isdecimal() else step for step in key.split("."))


class _Check:
    """One check of one config: the data, where each key stands, and the faults found so far."""

    def __init__(
        self,
        data: Any,
        lines: dict[KeyPath, int],
        name: str,
        overrides: Sequence[str],
        folder: Path | None,
        need_data: bool,
    ) -> None:
        self.lines = lines
        self.name = name
        self.folder = folder
        self.need_data = need_data
        self.overridden: set[KeyPath] = set()
        self.faults: dict[str, int] = {}
        if not isinstance(data, dict):
            raise ConfigError(f"{name}:1: a config is keys and values, found {shown(data)}")
        self.data: dict[str, Any] = data
        version = Config.model_fields["version"].default
        if data.get("version", version) != version:
            # What else seems wrong may well be right in that version.
            self.fault(
                ("version",),
                f"{shown(data['version'])}, but this version of slotfill reads version {version}",
            )
            raise ConfigError(list(self.faults))
        for override in overrides:
            try:
                self._override(override)
            except ValueError as fault:
                self.faults.setdefault(f"command line: {fault}", _LAST)

    def config(self) -> Config:
        data = dict(self.data)
        for key, registry in PART_KEYS.items():
            value = data.get(key, Config.model_fields[key].default)
            if key in STACKABLE_PART_KEYS and isinstance(value, list):
                data[key] = [
                    self._part(registry, each, (key, index)) for index, each in enumerate(value)
                ]
                if not value:
                    self.fault((key,), f"at least one {key} is needed")
            elif value is not None or Config.model_fields[key].default is not None:
                default = None if key == "embedding" else Config.model_fields[key].default
                part = self._part(registry, value, (key,), default)
                data[key] = [part] if key == "embedding" else part
        if isinstance(data.get("data"), dict) and data["data"].get("format", "auto") != "auto":
            data["data"] = data["data"] | {
                "format": self._part(FORMATS, data["data"]["format"], ("data", "format"))
            }
        if isinstance(data.get("tune"), dict):
            ranges = {key: self._range(key, value) for key, value in data["tune"].items()}
            data["tune"] = {key: found for key, found in ranges.items() if found is not None}
        config = self._validate(Config, data, ())
        if config is not None:
            self._resolve_paths(config.data)
        if self.faults:
            raise ConfigError(sorted(self.faults, key=self.faults.__getitem__))
        return config

    def _part(self, registry: Registry, value: Any, path: KeyPath, default: Any = None) -> Part:
        """Return the part complete with its defaults, having noted every fault in it; without a
        name, `default`.
        """
        allowed = did_you_mean("", registry.names())
        if isinstance(value, dict) and "name" not in value and isinstance(default, str):
            value = {"name": default} | value
        if isinstance(value, dict) and "name" not in value:
            self.fault((*path, "name"), f"is needed and not given{allowed}")
            return {}
        options = {"name": value} if isinstance(value, str) else value
        if not isinstance(options, dict) or not isinstance(options["name"], str):
            self.fault(
                path, f"must be the name of one {registry.kind}{allowed}, found {shown(value)}"
            )
            return {}
        options = dict(options)
        name_path = (*path, "name") if isinstance(value, dict) else path
        if options["name"].endswith(".py"):
            options["name"] = str(self._found(options["name"], name_path))
        try:
            part = registry.part(options["name"])
            for option in part.options.values():
                if option.part:
                    inner = options.get(option.name, option.default)
                    options[option.name] = self._part(
                        REGISTRIES[option.part], inner, (*path, option.name), option.default
                    )
                elif isinstance(given := options.get(option.name), str):
                    options[option.name] = self._path(option.type, given, (*path, option.name))
        except ConfigError as fault:
            self.fault(name_path, str(fault))
            return {}
        checked = self._validate(part_model(part), options, path)
        return checked.model_dump() if checked is not None else {}

    def _path(self, kind: Any, given: str, key: KeyPath) -> str:
        """Return what a text option of the type `kind` says, a path made absolute; notes where
        there is no file.

        An absolute one stays as it is, and so does a name where a run is read: what was kept is
        called by it.
        """
        if kind not in (FilePath, FilePath | None, FolderOrName) or (
            kind == FolderOrName and not self.need_data
        ):
            return given
        found = Path(given) if Path(given).is_absolute() else self._found(given, key)
        if kind == FolderOrName:
            return str(found) if found.exists() else given
        if self.need_data and not found.exists():
            self.fault(key, f"there is no file {given}{_nearest(found)}")
        return str(found)

    def _range(self, key: str, given: Any) -> Range | list[Any] | None:
        """Return what `slotfill tune` is to try for `key`, or None where it is wrong, having noted
        why.
        """
        path: KeyPath = ("tune", key)
        if fault := why_not_tunable(key, given):
            self.fault(path, fault)
            return None
        found = given if isinstance(given, list) else self._validate(Range, given, path)
        if found is None:
            return None
        for step, message in found.faults() if isinstance(found, Range) else ():
            self.fault((*path, step), message)
        values = given if isinstance(given, list) else [given["low"], given["high"]]
        faults = [fault for value in values for fault in self._faults_at(key, value)]
        for fault in faults:
            self.fault(path, fault.removeprefix(f"{key}: "))
        if (
            faults
            or not isinstance(found, Range)
            or not all(isinstance(value, int) for value in values)
        ):
            return found
        if not self._faults_at(key, found.low + 0.5):
            return found
        # The key takes whole numbers alone.
        if found.step and found.step % 1:
            self.fault((*path, "step"), f"must be a whole number, found {found.step:g}")
        return found.whole()

    def _faults_at(self, key: str, value: Any) -> list[str]:
        """Return what is wrong where `key` is set to `value`, each fault after the key that has it."""
        data = {section: held for section, held in self.data.items() if section != "tune"}
        try:
            _Check(
                data, self.lines, self.name, [f"{key}={json.dumps(value)}"], self.folder, False
            ).config()
        except ConfigError as error:
            place = "command line: "
            return [fault.removeprefix(place) for fault in error.faults if fault.startswith(place)]
        return []

    def _validate(self, model: type[Any], data: Any, path: KeyPath) -> Any:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for fault in error.errors():
                if (place := place_of(fault["loc"], data)) is None:
                    continue
                message = message_of(fault, fields_at(model, place))
                if new := RENAMED_KEYS.get(join_key((*path, *place))):
                    message = f"is now called {new}"
                if (
                    fault["type"] == "literal_error"
                    and place != fault["loc"]
                    and place[-1] == fault["loc"][-2]
                ):
                    message = message.removesuffix(")") + ", or a list)"
                self.fault((*path, *place), message)
            return None

    def fault(self, path: KeyPath, message: str) -> None:
        """Note what is wrong at `path`."""
        known = path
        while known and known not in self.lines and not self._overridden(known):
            known = known[:-1]
        overridden = known not in self.lines and self._overridden(known)
        line = _LAST if overridden else self.lines.get(known, 1)
        place = "command line" if overridden else f"{self.name}:{line}"
        self.faults.setdefault(": ".join(filter(None, (place, join_key(path), message))), line)

    def _overridden(self, path: KeyPath) -> bool:
        """Whether an override set what stands at `path`, or something in it."""
        return any(key[: len(path)] == path for key in self.overridden)

    def _override(self, override: str) -> None:
        """Put one `key.path=value` into the data, its value read as YAML; raises ValueError where
        it cannot be.
        """
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(
                f"'{override}': an override is written key=value, as encoder.hidden_size=200"
            )
        try:
            value = parse_value(text)
        except ValueError as fault:
            raise ValueError(f"{key}: {fault}") from None
        path = _path(key)
        if path[0] == "tune" and len(path) > 1:
            path = ("tune", key.partition(".")[2])
        target: Any = self.data
        registry: Registry | None = None
        for depth in range(1, len(path)):
            target, registry = self._into(target, registry, path[:depth], path[depth])
        target[self._step(target, path)] = value
        self.overridden = {old for old in self.overridden if old[: len(path)] != path} | {path}
        self.lines = {old: line for old, line in self.lines.items() if old[: len(path)] != path}

    def _into(
        self, target: Any, registry: Registry | None, path: KeyPath, following: str | int
    ) -> tuple[Any, Registry | None]:
        """Return a copy of what stands at `path`, put in its place in `target`, and the kind of
        part it is.

        A part given by its name alone, or by default, is made to hold keys.
        """
        step: Any = self._step(target, path)
        default = None
        if isinstance(target, dict):
            registry, default = _kind_at(registry, target, path)
        value = target.get(step) if isinstance(target, dict) else target[step]
        value = default if value is None else value
        if (
            path[0] in STACKABLE_PART_KEYS
            and len(path) == 1
            and isinstance(following, int)
            and isinstance(value, str | dict)
        ):
            value = [value]
        if isinstance(value, str) and registry:
            value = {"name": value}
        elif value is None:
            value = {}
        elif not isinstance(value, dict | list):
            raise ValueError(
                f"{join_key((*path, following))}: {join_key(path)} is {shown(value)} and has no keys"
            )
        # A copy, since an alias in the YAML may stand for the same value elsewhere.
        target[step] = value.copy()
        return target[step], registry

    def _step(self, target: Any, path: KeyPath) -> str | int:
        """Return the last step of `path` as a key, or a place in a list, of `target`."""
        if not isinstance(target, list):
            return str(path[-1])
        if isinstance(path[-1], int) and path[-1] < len(target):
            return path[-1]
        raise ValueError(
            f"{join_key(path)}: '{path[-1]}' must be a place in the list of {len(target)}, counted"
            " from 0"
        )

    def _found(self, path: str, key: KeyPath) -> Path:
        """Return as an absolute path the file or folder that `path` means, or where it should be."""
        here = self.folder is None or any(
            key[:depth] in self.overridden for depth in range(1, len(key) + 1)
        )
        bases = [Path.cwd()] if here else [self.folder, Path.cwd()]
        wholes = [(base / Path(path).expanduser()).resolve() for base in bases if base]
        return next((whole for whole in wholes if whole.exists()), wholes[0])

    def _resolve_paths(self, data: DataConfig) -> None:
        """Make the paths absolute, so that the run finds its data from wherever it is evaluated."""
        given = {
            key: path
            for key in ("path", "train", "valid", "test")
            if (path := getattr(data, key)) is not None
        }
        for key, path in given.items():
            found = self._found(path, ("data", key))
            setattr(data, key, str(found))
            if self.need_data and not found.exists():
                self.fault(("data", key), f"there is no file or folder {path}{_nearest(found)}")
        if self.need_data and not given.keys() & {"path", "train"}:
            self.fault(
                ("data",), "no training sentences; set data.path=FOLDER_OR_FILE or data.train=FILE"
            )


def _kind_at(
    registry: Registry | None, above: Mapping[str, Any], path: KeyPath
) -> tuple[Registry | None, Any]:
    """Return the kind of part that stands at `path`, if one does, and its default; `above` is what
    holds it.
    """
    key = str(path[-1])
    if len(path) == 1 and key in PART_KEYS:
        return PART_KEYS[key], Config.model_fields[key].default
    if path == ("data", "format"):
        return FORMATS, None
    if registry and above.get("name") in registry.names():
        option = registry.part(above["name"]).options.get(key)
        if option and option.part:
            return REGISTRIES[option.part], option.default
    return None, None


def _nearest(path: Path) -> str:
    """Return the end of a message on a missing `path`: the nearest name in the folder it should be
    in.
    """
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
