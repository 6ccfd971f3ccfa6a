"""YAML as people mean it: text to data with the line of every key, and back, without YAML 1.1's traps.

`1e-3` is a number; `no`, `on` and `yes` are words, and so are `12:30` and `2026-11-02`; `010` is ten; a key
given twice is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from slotfill.errors import ConfigError

Path = tuple[str | int, ...]
"""Where a value stands: the keys and list places that lead to it."""

_PLAIN = {
    "tag:yaml.org,2002:null": (re.compile(r"(?:~|null|Null|NULL|)$"), "~nN\0"),
    "tag:yaml.org,2002:bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    "tag:yaml.org,2002:int": (re.compile(r"[-+]?[0-9]+$"), "-+0123456789"),
    "tag:yaml.org,2002:float": (
        re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$"),
        "-+.0123456789",
    ),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own table


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own table

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


for _tag, (_pattern, _first) in _PLAIN.items():
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(_tag, _pattern, ["" if letter == "\0" else letter for letter in _first])
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def parse(text: str, name: str) -> tuple[Any, dict[Path, int]]:
    """Return what `text` says, and the line (from 1) of each key and list place in it.

    `name` stands before the line in messages. Raises ConfigError for what is not YAML.
    """
    loader = _Loader(text)
    lines: dict[Path, int] = {}
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, lines
        _walk(node, (), lines, name, set())
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line = mark.line + 1 if mark else 1
        hint = "; indent with blanks, not tabs" if "\\t" in str(fault.problem) else ""
        raise ConfigError(f"{name}:{line}: not YAML: {fault.problem or fault.context}{hint}") from None
    except yaml.YAMLError as fault:
        raise ConfigError(f"{name}:1: not YAML: {str(fault).splitlines()[0]}") from None
    finally:
        loader.dispose()


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], name: str, above: set[int]) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if id(node) in above:
        raise ConfigError(f"{name}:{line}: the alias stands inside what it refers to")
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{name}:{key.start_mark.line + 1}: a key must be a word")
            here = (*path, key.value)
            if here in lines:
                raise ConfigError(
                    f"{name}:{key.start_mark.line + 1}: {dotted(here)}: given twice, first in line {lines[here]}"
                )
            lines[here] = key.start_mark.line + 1
            _walk(value, here, lines, name, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), lines, name, above)


def dump(data: Mapping[str, Any]) -> str:
    """Return `data` as YAML that `parse` reads back the same, keys in their order."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def dotted(path: Path) -> str:
    """Return a path as it is written on the command line: `encoder.cell.name`."""
    return ".".join(map(str, path))
