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

MAX_NESTING = 50
"""The largest number of keys and list indices that lead to a value."""

_CORE = "tag:yaml.org,2002:"
_PLAIN = {
    f"{_CORE}null": re.compile(r"(?:~|null|Null|NULL|)$"),
    f"{_CORE}bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"),
    f"{_CORE}int": re.compile(r"[-+]?[0-9]+$"),
    f"{_CORE}float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$"
    ),
    f"{_CORE}str": re.compile(""),
}
"""The tags of scalars, and what a scalar with the tag matches."""

_RESOLVERS = {None: list(_PLAIN.items())}
"""PyYAML's table of the tags of plain scalars, by first letter; None is any letter."""

_ESCAPED = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML reads as line ends, or not at all, unless they are written as escapes."""


class OverrideText(str):
    """A text in an override, where a relative path starts at the current folder."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _RESOLVERS
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count keys and values, so that not all of a text with too many is parsed."""
        self.nodes += 1
        if self.nodes > 2 * MAX_VALUES + 1:
            raise _too_many_values(self.peek_event().start_mark.line + 1)
        return super().compose_node(parent, index)


class _OverrideLoader(_Loader):
    pass


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _RESOLVERS

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_text(self, text: str) -> yaml.Node:
        style = '"' if _ESCAPED.search(text) else None
        return self.represent_scalar(f"{_CORE}str", str(text), style)


_Loader.add_constructor(f"{_CORE}int", lambda loader, node: int(node.value))
_OverrideLoader.add_constructor(f"{_CORE}str", lambda loader, node: OverrideText(node.value))
_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(OverrideText, _Dumper.represent_text)


def parse(text: str, name: str) -> tuple[Any, dict[str, int]]:
    """Return the data in `text`, and the line (from 1) of each key in it; no text is no keys.

    Keys have dots, and the indices of lists count from 0: `embedding.0.size`. Raises ConfigError
    for invalid YAML in the file `name`.
    """
    try:
        return _read(text, _Loader, {})
    except _YamlError as error:
        message, line = error.args
        raise ConfigError([ErrorDetail(message, source=f"{name}:{line}")]) from None


def parse_override(text: str) -> Any:
    """Return the value in the text of an override; raises ValueError for invalid YAML."""
    if text.strip() == "-":  # The standard input of other programs; in YAML, a list.
        return "-"
    try:
        return _read(text, _OverrideLoader, None)[0]
    except _YamlError as error:
        raise ValueError(error.args[0]) from None


class _YamlError(Exception):
    """The message on an error in a text, and its line."""


def _too_many_values(line: int) -> _YamlError:
    return _YamlError(f"more than {MAX_VALUES:,} values, counting those of aliases", line)


def _read(text: str, loader: type[_Loader], empty: Any) -> tuple[Any, dict[str, int]]:
    """Return the data in `text`, or `empty` if it has none, and the line of each key."""
    lines: dict[str, int] = {}
    line = 1
    try:
        node = yaml.compose(text, loader)
        if node is None:
            return empty, lines
        _check_node(node, (), lines, frozenset())
        line = node.start_mark.line + 1
        return loader("").construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context).replace("'<stream end>'", "the end")
        if problem.startswith("but ") and error.context:
            problem = f"{error.context}, {problem}"
        hint = "; indent with spaces, not tabs" if "\\t" in problem else ""
        message, line = f"not YAML: {problem}{hint}", mark.line + 1 if mark else 1
    except yaml.reader.ReaderError as error:
        message = f"not YAML: the character U+{error.character:04X} is not allowed"
        line = text.count("\n", 0, error.position) + 1
    except (ValueError, OverflowError):
        # PyYAML passes on Python's errors for such an escape, and for such a number.
        message = "not YAML: a number has more than 4,300 digits"
        if escape := re.search(r"\\U(?!000|0010)[0-9a-fA-F]{8}", text):
            message = "not YAML: an escape stands for no character"
            line = text.count("\n", 0, escape.start()) + 1
    except RecursionError:
        message = "nested too deep"
    raise _YamlError(message, line)


def _check_node(
    node: yaml.Node, path: tuple[str, ...], lines: dict[str, int], above: frozenset[int]
) -> None:
    """Add the lines of `node` and of all below it; `above` are the nodes that contain it."""
    line = node.start_mark.line + 1
    lines.setdefault(".".join(path), line)
    if id(node) in above:
        key = ".".join(path)
        raise _YamlError(f"{key}: the alias is inside the value it refers to", lines[key])
    if len(lines) > MAX_VALUES:
        raise _too_many_values(line)
    if len(path) > MAX_NESTING:
        raise _YamlError("nested too deep", line)
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                found = f"a key must be a word, found a {key.id}"
                raise _YamlError(": ".join(filter(None, (".".join(path), found))), line)
            # Keys are words, also those that look like numbers.
            key.tag = f"{_CORE}str"
            _check_text(key)
            here = (*path, key.value)
            name = ".".join(here)
            if not name:
                raise _YamlError("a key is empty", line)
            if name in lines:
                raise _YamlError(f"{name}: given twice, first in line {lines[name]}", line)
            if key.value == "<<":
                raise _YamlError(f"{name}: merge keys are not supported; write the keys out", line)
            lines[name] = line
            _check_node(value, here, lines, above)
    elif isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
        for index, value in enumerate(node.value):
            _check_node(value, (*path, str(index)), lines, above)
    elif isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN:
        _check_text(node)
        if not _PLAIN[node.tag].match(node.value):
            tag = node.tag.replace(_CORE, "!!")
            raise _YamlError(f"not YAML: {node.value!r} does not match its tag {tag}", line)
    else:
        tag = node.tag.replace(_CORE, "!!")
        raise _YamlError(f"the tag {tag} is not supported here; remove it", line)


def _check_text(node: yaml.ScalarNode) -> None:
    """Raise an error for half of a surrogate pair, which UTF-8 cannot encode."""
    if surrogate := re.search("[\ud800-\udfff]", node.value):
        message = f"not YAML: the character U+{ord(surrogate[0]):04X} is not allowed"
        raise _YamlError(message, node.start_mark.line + 1)


def escape_text(text: str) -> str:
    """Return the text of a JSON string as YAML that can be read, whatever its characters are."""
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def dump(data: Mapping[str, Any]) -> str:
    """Return `data` as YAML that `parse` reads back the same, keys in their order."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
