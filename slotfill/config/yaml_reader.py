"""YAML as people mean it: text to data with the line of every key, and back, without YAML 1.1's
traps.

`1e-3` is a number; `no`, `on` and `yes` are words, and so are `12:30` and `2026-11-02`; `010` is
ten; a key given twice is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from slotfill.errors import ConfigError

Path = tuple[str | int, ...]
"""Where a value stands: the keys and list places that lead to it."""

_CORE = "tag:yaml.org,2002:"
_PLAIN = {
    f"{_CORE}null": (re.compile(r"(?:~|null|Null|NULL|)$"), "~nN\0"),
    f"{_CORE}bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    f"{_CORE}int": (re.compile(r"[-+]?[0-9]+$"), "-+0123456789"),
    f"{_CORE}float": (
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$"
        ),
        "-+.0123456789",
    ),
}
_TAGS = {*_PLAIN, f"{_CORE}str", f"{_CORE}seq", f"{_CORE}map"}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own table


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own table

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


for _tag, (_pattern, _first) in _PLAIN.items():
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(
            _tag, _pattern, ["" if letter == "\0" else letter for letter in _first]
        )
_Loader.add_constructor(f"{_CORE}int", lambda loader, node: int(node.value))


class _Fault(Exception):
    """What is wrong with a text, and in which line of it."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message


def parse(text: str, name: str) -> tuple[Any, dict[Path, int]]:
    """Return what `text` says, and the line (from 1) of each key and list place in it; no text is
    no keys.

    `name` stands before the line in messages. Raises ConfigError for what is not YAML.
    """
    try:
        node, lines = _read(text)
        return (_construct(node) if node else {}), lines
    except _Fault as fault:
        raise ConfigError(f"{name}:{fault.line}: {fault.message}") from None


def parse_value(text: str) -> Any:
    """Return what the value of a single key says, as on the command line; raises ValueError for
    what is not YAML.
    """
    try:
        node, _ = _read(text)
        return _construct(node) if node else None
    except _Fault as fault:
        raise ValueError(fault.message) from None


def _read(text: str) -> tuple[yaml.Node | None, dict[Path, int]]:
    """Return the tree of `text`, and the lines of what is in it."""
    lines: dict[Path, int] = {}
    try:
        node = yaml.compose(text, _Loader)
        if node is not None:
            _walk(node, (), lines, frozenset())
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        problem = str(fault.problem or fault.context).replace("'<stream end>'", "the end")
        if problem.startswith("but ") and fault.context:
            problem = f"{fault.context}, {problem}"
        hint = "; indent with blanks, not tabs" if "\\t" in problem else ""
        raise _Fault(mark.line + 1 if mark else 1, f"not YAML: {problem}{hint}") from None
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        raise _Fault(
            line, f"not YAML: the character U+{fault.character:04X} may not be in it"
        ) from None
    except RecursionError:
        raise _Fault(1, "not YAML that can be used: it is nested too deep") from None
    return node, lines


def _construct(node: yaml.Node) -> Any:
    try:
        return _Loader("").construct_document(node)
    except (ValueError, KeyError) as fault:
        # `!!int x`, or a number of more digits than Python reads.
        raise _Fault(node.start_mark.line + 1, f"not YAML: {fault}") from None


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], above: frozenset[int]) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if id(node) in above:
        raise _Fault(line, "the alias stands inside what it refers to")
    if node.tag not in _TAGS:
        raise _Fault(
            line, f"the tag {node.tag.replace(_CORE, '!!')} is not apply_intent_head; take it out"
        )
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _Fault(line, "a key must be a word")
            # Keys are words, also those that look like numbers.
            key.tag = f"{_CORE}str"
            here = (*path, key.value)
            if here in lines:
                raise _Fault(line, f"{join_key(here)}: given twice, first in line {lines[here]}")
            if key.value == "<<":
                raise _Fault(line, f"{join_key(here)}: keys are not merged; write them out")
            lines[here] = line
            _walk(value, here, lines, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), lines, above)


def dump(data: Mapping[str, Any]) -> str:
    """Return `data` as YAML that `parse` reads back the same, keys in their order."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def join_key(path: Path) -> str:
    """Return a path as it is written on the command line: `encoder.cell.name`."""
    return ".".join(map(str, path))
