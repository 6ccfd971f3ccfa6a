"""YAML without the surprises of YAML 1.1: text to data and the line of every key, and back.

`1e-3` is a number; `no`, `on` and `yes` are words, and so are `12:30` and `2026-11-02`; `010` is
ten; a key given twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from slotfill.errors import ConfigError, ErrorDetail

MAX_VALUES = 10_000
"""The largest number of values in a config, where an alias counts as the values it stands for."""

_MAX_DEPTH = 50

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
    f"{_CORE}str": (re.compile(""), ""),
}
"""The tags of scalars: what a scalar with the tag matches, and the letters it starts with."""

_ESCAPED = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML reads as line ends, or not at all, unless they are written as escapes."""


_Resolvers = dict[str, list[tuple[str, re.Pattern[str]]]]


class OverrideText(str):
    """A text in an override, where a relative path starts at the current folder."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: _Resolvers = {}  # noqa: RUF012 - PyYAML's own table


class _OverrideLoader(_Loader):
    pass


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: _Resolvers = {}  # noqa: RUF012 - PyYAML's own table

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_text(self, text: str) -> yaml.Node:
        style = '"' if _ESCAPED.search(text) else None
        return self.represent_scalar(f"{_CORE}str", str(text), style)


for _tag, (_pattern, _letters) in _PLAIN.items():
    _first = [letter.strip("\0") for letter in _letters]
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor(f"{_CORE}int", lambda loader, node: int(node.value))
_OverrideLoader.add_constructor(f"{_CORE}str", lambda loader, node: OverrideText(node.value))
_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(OverrideText, _Dumper.represent_text)


class _YamlError(Exception):
    """An error in a text, and its line."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message


def parse(text: str, name: str) -> tuple[Any, dict[str, int]]:
    """Return the data in `text`, and the line (from 1) of each key in it; no text is no keys.

    Keys have dots, and the indices of lists count from 0: `embedding.0.size`. Raises ConfigError
    for invalid YAML in the file `name`.
    """
    try:
        node, lines = _read(text, _Loader)
        return ({} if node is None else _construct(node, _Loader)), lines
    except _YamlError as error:
        raise ConfigError([ErrorDetail(error.message, source=f"{name}:{error.line}")]) from None


def parse_override(text: str) -> Any:
    """Return the value in the text of an override; raises ValueError for invalid YAML."""
    try:
        node, _ = _read(text, _OverrideLoader)
        return None if node is None else _construct(node, _OverrideLoader)
    except _YamlError as error:
        raise ValueError(error.message) from None


def _read(text: str, loader: type[_Loader]) -> tuple[yaml.Node | None, dict[str, int]]:
    """Return the tree of `text`, and the line of each key."""
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, loader)
        if node is not None:
            _check_node(node, (), lines, frozenset())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context).replace("'<stream end>'", "the end")
        if problem.startswith("but ") and error.context:
            problem = f"{error.context}, {problem}"
        hint = "; indent with spaces, not tabs" if "\\t" in problem else ""
        raise _YamlError(mark.line + 1 if mark else 1, f"not YAML: {problem}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not YAML: the character U+{error.character:04X} is not allowed"
        raise _YamlError(line, message) from None
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF", for which PyYAML passes on Python's error.
        escape = re.search(r"\\U(?!000|0010)[0-9a-fA-F]{8}", text)
        line = text.count("\n", 0, escape.start()) + 1 if escape else 1
        raise _YamlError(line, "not YAML: an escape stands for no character") from None
    except RecursionError:
        raise _YamlError(1, "nested too deep") from None
    return node, lines


def _construct(node: yaml.Node, loader: type[_Loader]) -> Any:
    try:
        return loader("").construct_document(node)
    except ValueError:  # Python reads no number of more digits.
        message = "not YAML: a number has more than 4,300 digits"
        raise _YamlError(node.start_mark.line + 1, message) from None


def _check_node(
    node: yaml.Node, path: tuple[str, ...], lines: dict[str, int], above: frozenset[int]
) -> None:
    """Add the lines of `node` and of all below it; `above` are the nodes that contain it."""
    line = node.start_mark.line + 1
    lines.setdefault(".".join(path), line)
    if id(node) in above:
        raise _YamlError(line, "the alias is inside the value it refers to")
    if len(lines) > MAX_VALUES:
        raise _YamlError(line, f"more than {MAX_VALUES:,} values, counting those of aliases")
    if len(path) > _MAX_DEPTH:
        raise _YamlError(line, "nested too deep")
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _YamlError(line, "a key must be a word")
            # Keys are words, also those that look like numbers.
            key.tag = f"{_CORE}str"
            _check_text(key)
            here = (*path, key.value)
            name = ".".join(here)
            if name in lines:
                raise _YamlError(line, f"{name}: given twice, first in line {lines[name]}")
            if key.value == "<<":
                raise _YamlError(line, f"{name}: merge keys are not supported; write the keys out")
            lines[name] = line
            _check_node(value, here, lines, above)
    elif isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
        for index, value in enumerate(node.value):
            _check_node(value, (*path, str(index)), lines, above)
    elif isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN:
        _check_text(node)
        if not _PLAIN[node.tag][0].match(node.value):
            tag = node.tag.replace(_CORE, "!!")
            raise _YamlError(line, f"not YAML: {node.value!r} does not match its tag {tag}")
    else:
        tag = node.tag.replace(_CORE, "!!")
        raise _YamlError(line, f"the tag {tag} is not supported here; remove it")


def _check_text(node: yaml.ScalarNode) -> None:
    """Raise an error for half of a surrogate pair, which UTF-8 cannot encode."""
    if surrogate := re.search("[\ud800-\udfff]", node.value):
        message = f"not YAML: the character U+{ord(surrogate[0]):04X} is not allowed"
        raise _YamlError(node.start_mark.line + 1, message)


def dump(data: Mapping[str, Any]) -> str:
    """Return `data` as YAML that `parse` reads back the same, keys in their order."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
