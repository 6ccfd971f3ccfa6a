"""YAML values that are checked for their type as they are read, each with its line.

All scalars are texts, as `yes` and `3.10` are in the files of chatbots; only an empty one, `~` and
`null` are none. Aliases and tags are errors, so a small file stays small, and builds no objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from slotfill.errors import DataError, shorten_text
from slotfill.files import read_lines

_CORE = "tag:yaml.org,2002:"
_NO_RESOLVERS: dict[str, Any] = {}  # Scalars are texts.
_YAML_LINE_END = re.compile("[\x85\u2028\u2029]")
_NO_CHARACTER = re.compile(r"\\U(?!000|0010)[0-9a-fA-F]{8}")
_SURROGATE = re.compile("[\ud800-\udfff]")  # YAML can spell one half of a UTF-16 pair.


class YamlValue:
    """A YAML value in a file."""

    def __init__(self, node: yaml.Node, path: Path) -> None:
        self._node = node
        self._style: str | None = getattr(node, "style", None)
        self._path = path
        self.location = f"{path}:{node.start_mark.line + 1}"
        """`file:line`."""
        if node.tag not in (f"{_CORE}str", f"{_CORE}map", f"{_CORE}seq"):
            self.fail(f"the tag {node.tag.replace(_CORE, '!!')} is not read; remove it")

    def fail(self, problem: str) -> NoReturn:
        """Raise DataError with the location before `problem`."""
        raise DataError(f"{self.location}: {problem}")

    @property
    def is_none(self) -> bool:
        """Whether there is no value."""
        is_plain = self._style is None and isinstance(self._node, yaml.ScalarNode)
        return is_plain and self._node.value.lower() in ("", "~", "null")

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    @property
    def text(self) -> str:
        """The text that it is."""
        if not isinstance(self._node, yaml.ScalarNode) or self.is_none:
            self.fail(f"expected a text, found {self._kind}")
        if half := _SURROGATE.search(self._node.value):
            self.fail(f"U+{ord(half[0]):04X} is half a character, which UTF-8 cannot hold")
        text: str = self._node.value
        return text

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """The lines of the text that it is, each with its location."""
        text = self.text
        if self._style == ">":
            self.fail("the lines after > are joined by YAML; write | in its place")
        is_block = self._style == "|"
        first = self._node.start_mark.line + 1
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            yield f"{self._path}:{first + number * is_block}", line

    @property
    def items(self) -> list[YamlValue]:
        """The values of the list that it is; none if there is no value."""
        if self.is_none:
            return []
        if not self.is_list:
            self.fail(f"expected a list, found {self._kind}")
        return [YamlValue(node, self._path) for node in self._node.value]

    @property
    def fields(self) -> dict[str, YamlValue]:
        """The values of the mapping that it is, by key, without those that are none."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(f"expected keys and values, found {self._kind}")
        fields: dict[str, YamlValue] = {}
        for key_node, node in self._node.value:
            key = YamlValue(key_node, self._path)
            if key.text in fields:
                key.fail(f"the key '{key.text}' is given twice")
            fields[key.text] = YamlValue(node, self._path)
        return {key: value for key, value in fields.items() if not value.is_none}

    @property
    def _kind(self) -> str:
        if isinstance(self._node, yaml.ScalarNode):
            return "nothing" if self.is_none else repr(shorten_text(self._node.value))
        return "a list" if self.is_list else "keys and values"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _NO_RESOLVERS

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            problem = f"the alias *{event.anchor} is not read; write out what it stands for"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def read_documents(path: Path) -> Iterator[YamlValue]:
    """Yield the documents in a YAML file; raises DataError if it is not YAML."""
    lines = []
    for number, line in read_lines(path):
        lines.append(line)
        if match := _YAML_LINE_END.search(line):
            code = f"U+{ord(match[0]):04X}"
            hint = f'write it in double quotes, as "\\u{ord(match[0]):04x}"'
            raise DataError(f"{path}:{number}: {code} ends a line in YAML; {hint}")
    text = "\n".join([*lines, ""])
    number = 1
    try:
        for node in yaml.compose_all(text, _Loader):
            number = node.start_mark.line + 1
            yield YamlValue(node, path)
        return
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line + 1 if mark else number
        is_alias = type(error) is yaml.MarkedYAMLError
        problem = f"{'' if is_alias else 'not YAML: '}{error.problem or error.context}"
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        problem = f"not YAML: the character U+{error.character:04X} is not allowed"
    except (ValueError, OverflowError):  # PyYAML passes on the error of chr.
        problem = "not YAML: an escape stands for no character"
        if escape := _NO_CHARACTER.search(text):
            number = text.count("\n", 0, escape.start()) + 1
    except RecursionError:
        problem = "nested too deep"
    raise DataError(f"{path}:{number}: {problem}")
