"""JSON objects whose values are checked for their type as they are read, each with its line."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import suppress
from itertools import chain, compress, dropwhile
from pathlib import Path
from typing import Any, NoReturn

from slotfill.data.tokenizers import is_empty
from slotfill.errors import DataError, shorten_text
from slotfill.files import read_lines


class JsonObject:
    """A JSON object at a location, `file:line`, which remembers what of it was read."""

    __slots__ = ("_objects", "_read", "items", "location")

    def __init__(self, items: dict[str, Any], location: str) -> None:
        self.items = items
        self.location = location
        self._read: set[str] = set()
        self._objects: dict[str, list[JsonObject]] | None = None  # Few objects have others in them.

    def fail(self, problem: str) -> NoReturn:
        """Raise DataError with the location before `problem`."""
        raise DataError(f"{self.location}: {problem}")

    def unread(self, bookkeeping: Set[str] = frozenset()) -> list[str]:
        """Return the keys that hold something and were not read, of objects as `entities.id`.

        Those in `bookkeeping` are left out, also in objects.
        """
        names: list[str] = []
        if not self.items.keys() <= self._read:
            items = self.unread_items().items()
            names = [
                key
                for key, value in items
                if value not in (None, "", [], {}) and key not in bookkeeping
            ]
        for key, objects in self._objects.items() if self._objects else ():
            for each in objects:
                if inside := each.unread(bookkeeping):
                    names += [f"{key}.{name}" for name in inside]
        return list(dict.fromkeys(names)) if names else names

    def unread_items(self) -> dict[str, Any]:
        """Return the keys that were not read, with their values."""
        return {key: value for key, value in self.items.items() if key not in self._read}

    def skip(self) -> None:
        """Take all of the object as read, as it is left out as a whole."""
        self._read |= self.items.keys()
        self._objects = None

    def value(self, key: str) -> Any:
        """Return the value at `key`, of any type; None without it."""
        self._read.add(key)
        return self.items.get(key)

    def get(self, key: str, kind: type, *default: Any) -> Any:
        """Return the value at `key`, which must be of the type `kind`, or the default for none."""
        self._read.add(key)
        value = self.items.get(key)
        if value is None and default:
            return default[0]
        if type(value) is not kind:
            missing = key not in self.items
            actual = "it is missing" if missing else f"found {shorten(value)}"
            self.fail(f'expected {_TYPE_NAMES[kind]} as "{key}", {actual}')
        return value

    def texts(self, key: str) -> list[str] | None:
        """Return the texts in the list at `key`, none of which is only spaces; None without it."""
        values: list[str] | None = self.get(key, list, None)
        for value in values or ():
            if type(value) is not str or is_empty(value):
                self.fail(
                    f'"{key}" must hold texts that are not only spaces, found {shorten(value)}'
                )
        return values

    def object(self, key: str) -> JsonObject:
        """Return the object at `key`, which is empty if there is none."""
        self._objects = self._objects or {}
        if key not in self._objects:
            self._objects[key] = [JsonObject(self.get(key, dict, {}), self.location)]
        return self._objects[key][0]

    def objects(self, key: str) -> list[JsonObject]:
        """Return the objects in the list at `key`; none if there is no list."""
        self._objects = self._objects or {}
        if key not in self._objects:
            values = self.get(key, list, [])
            for value in values:
                if not isinstance(value, dict):
                    self.fail(f'expected objects in "{key}", found {shorten(value)}')
            self._objects[key] = [JsonObject(value, self.location) for value in values]
        return self._objects[key]


_TYPE_NAMES = {
    str: "a text",
    int: "an integer",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def shorten(value: Any) -> str:
    """Return the beginning of `value` as JSON, for a message."""
    return shorten_text(json.dumps(value, ensure_ascii=False))


def describe_json_error(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a JSON text, as `expected a value, found 'x}' at column 9`."""
    if isinstance(error, json.JSONDecodeError):
        message, position = error.msg, error.pos
        before = error.doc[:position].rstrip()
        if before.endswith(",") and error.doc[position : position + 1] in ("}", "]"):
            # As Python 3.13 says itself.
            message, position = "Illegal trailing comma", len(before) - 1
        problem = next(text for start, text in _PROBLEMS.items() if message.startswith(start))
        found = _line_from(error.doc, position)
        shown = repr(found) if found.strip() else "the end of the line"
        column = position - error.doc.rfind("\n", 0, position)
        return f"{problem.format(shown)} at column {column}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return "a number of too many digits" if "digits" in str(error) else str(error)


def _line_from(text: str, start: int) -> str:
    """Return what follows in a line of `text`, shortened for a message."""
    return shorten_text(text[start : start + 100].partition("\n")[0], 20)


_PROBLEMS = {
    "Expecting value": "expected a value, found {}",
    "Expecting property name": "expected a key in double quotes, found {}",
    "Expecting ',' delimiter": "expected a comma or a closing bracket, found {}",
    "Expecting ':' delimiter": "expected a colon, found {}",
    "Illegal trailing comma": "a comma before a closing bracket, {}",
    "Unterminated string": "a text that is not closed, {}",
    "Invalid control character": "a control character in a text, {}; write it as \\u and its code,",
    "Invalid \\": "a backslash before what it cannot escape, {},",
    "Extra data": "the JSON is complete before {}",
    "": "found {}",
}
"""What is wrong by the beginning of Python's messages."""


def parse_json(text: str, location: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        DataError: A key occurs twice in an object, the text holds half a character, or it cannot
            be used as JSON in another way.
        json.JSONDecodeError: It is not JSON.
    """
    try:
        value = _DECODER.decode(text)
        _check_characters(value, text, location)
        return value
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        problem = f"JSON that cannot be used: {describe_json_error(error)}"
        raise DataError(f"{location}: {problem}") from None


def read_object(path: Path, text: str | None = None) -> JsonObject:
    """Return the object that a JSON file, or its `text`, is; raises DataError if it is not one."""
    return _Reader(path, _read_text(path) if text is None else text).read_object()


def read_objects(
    path: Path, *keys: str, text: str | None = None
) -> Iterator[tuple[tuple[str, ...], JsonObject]]:
    """Yield the objects of an array in a JSON file, with the keys that lead to them.

    The array is found under `keys`, of which `*` is any; without keys it is the file. All else in
    the file is skipped. `text` is that of the file, if it was read before.

    Raises:
        DataError: The file is not JSON, or something else is where the array or an object should
            be.
    """
    text = _read_text(path) if text is None else text
    for found, location, value in _Reader(path, text).read(keys):
        if not isinstance(value, dict):
            where = f' in "{found[-1]}"' if found else ""
            raise DataError(f"{location}: expected an object{where}, found {shorten(value)}")
        yield found, JsonObject(value, location)


def _read_text(path: Path) -> str:
    return "\n".join(line for _, line in read_lines(path))


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the location and the value of each row of JSON lines, or of an array of such rows.

    Instead of lines, the rows may be objects over several lines. A line that is not JSON has a
    DataError as its value; it is raised if the rows are not lines.
    """
    lines = dropwhile(lambda numbered: not numbered[1].strip(), read_lines(path))
    start, first = next(lines, (0, ""))
    if _ARRAY_OF_ROWS.match(first) or _is_begun(first):
        text = "\n".join([first, *(line for _, line in lines)])
        yield from _Reader(path, text, start).read_rows()
        return
    for number, line in chain([(start, first)], lines):
        if line.strip():
            location = f"{path}:{number}"
            try:
                value = parse_json(line, location)
            except json.JSONDecodeError as error:
                value = DataError(f"{location}: not JSON: {describe_json_error(error)}")
            except DataError as error:
                value = error
            yield location, value


def read_row_objects(
    path: Path, convert: Callable[[Any], Any] = lambda row: row, expected: str = "a JSON object"
) -> Iterator[JsonObject | DataError]:
    """Yield the rows of `read_rows` as objects, or a DataError for each that is none.

    `convert` is applied to each row before, and `expected` is what the error says.
    """
    for location, row in read_rows(path):
        value = convert(row)
        if isinstance(value, dict):
            yield JsonObject(value, location)
        elif isinstance(value, DataError):
            yield value
        else:
            yield DataError(f"{location}: expected {expected}, found {shorten(value)}")


def is_json(head: Sequence[str]) -> bool:
    """Return whether `head`, the first lines of a file, begins as JSON that holds sentences."""
    return bool(head) and _ROW.match(head[0]) is not None


def _is_begun(line: str) -> bool:
    """Return whether `line` is the beginning of a JSON object that the next lines go on with."""
    try:
        _DECODER.raw_decode(line.strip())
    except json.JSONDecodeError as error:
        return line.lstrip().startswith("{") and error.pos >= len(line.strip())
    except (ValueError, RecursionError):
        pass
    return False


def parse_head(head: Sequence[str]) -> list[Any]:
    """Return the first rows of JSON lines, or as `read_rows` reads them; none of another file.

    Args:
        head: The first lines of the file that are not empty, which may be cut off. Rows that are
            not complete are left out if there are others.
    """
    is_array = bool(head) and _ARRAY_OF_ROWS.match(head[0]) is not None
    is_begun = head[1:] and not head[1].lstrip().startswith("{") and _is_begun(head[0])
    texts = ["\n".join(head)] if is_array or is_begun else head
    closed = [_close_brackets(text) for text in texts]
    with suppress(ValueError, RecursionError):
        if is_begun:
            return [_DECODER.raw_decode(closed[0].lstrip())[0]]
        rows = [json.loads(text) for text in closed]
        if is_array:
            return rows[0] if closed == texts else rows[0][:-1] or rows[0]
        complete = map(str.__eq__, closed, texts)
        return list(compress(rows, complete)) or rows
    return []


def _close_brackets(text: str) -> str:
    """Return a JSON text, if it is cut off without its last item and with its brackets closed."""
    closing: list[str] = []
    closed: list[str] = []  # What was closed since `end`.
    end = 0
    for match in _TOKEN.finditer(text):
        if match[0] in ("[", "{"):
            closing.append("]" if match[0] == "[" else "}")
            end, closed = match.end(), []
        elif match[0] == ",":
            end, closed = match.start(), []
        elif match[0] in ("]", "}") and closing:
            closed.append(closing.pop())
    return text[:end] + "".join(reversed(closing + closed[::-1])) if closing else text


class _Reader:
    """Reads parts of a JSON text with Python's decoder, which does not tell where they are."""

    def __init__(self, path: Path, text: str, line: int = 1) -> None:
        self.path = path
        self.text = text
        self.line = line
        self.counted = 0  # Up to here line ends are counted.
        self.items = self.last_line = 0  # How many items were read, and the line of the last one.

    def read(self, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
        end = yield from self._members(self._skip_space(0), keys, ())
        if self._skip_space(end) < len(self.text):
            self._fail(end, "the file goes on after its JSON")

    def read_rows(self) -> Iterator[tuple[str, Any]]:
        """Yield the location and the value of each item of an array, or of several values."""
        position = self._skip_space(0)
        if self.text[position : position + 1] == "[":
            for _, location, value in self.read(()):
                yield location, value
            return
        while position < len(self.text):
            location, value, position = self._read_item(position)
            yield location, value
            position = self._skip_space(position)

    def read_object(self) -> JsonObject:
        start = self._skip_space(0)
        location = self._location(start)
        value, end = self._decode(start)
        if not isinstance(value, dict):
            raise DataError(f"{location}: expected an object, found {shorten(value)}")
        _check_characters(value, self.text[start:end], location)
        return JsonObject(value, location)

    def _members(
        self, start: int, keys: tuple[str, ...], found: tuple[str, ...]
    ) -> Generator[tuple[tuple[str, ...], str, Any], None, int]:
        """Yield the items under `keys` of the value at `start`, with the keys and the location.

        Returns where the value ends.
        """
        where = f' in "{found[-1]}"' if found else ""
        opening, closing, kind = ("{", "}", "an object") if keys else ("[", "]", "an array")
        if self.text[start : start + 1] != opening:
            actual = _line_from(self.text, start)
            shown = repr(actual) if actual else "the end of the file"
            self._fail(start, f"expected {kind}{where}, found {shown}")
        position = self._skip_space(start + 1)
        while self.text[position : position + 1] != closing:
            if keys:
                key, position = self._decode(position)
                position = self._skip_space(position)
                if not isinstance(key, str) or self.text[position : position + 1] != ":":
                    self._fail(position, "expected a key and a colon")
                position = self._skip_space(position + 1)
                if keys[0] in (key, "*"):
                    position = yield from self._members(position, keys[1:], (*found, key))
                else:
                    _, position = self._decode(position)
            else:
                location, value, position = self._read_item(position)
                yield found, location, value
            position = self._skip_space(position)
            if self.text[position : position + 1] == ",":
                position = self._skip_space(position + 1)
            elif self.text[position : position + 1] != closing:
                self._fail(position, f"expected a comma or {closing!r}")
        return position + 1

    def _read_item(self, start: int) -> tuple[str, Any, int]:
        """Return the location, the value and the end of the item at `start`."""
        value, end = self._decode(start)
        location = self._location(start)
        self.items += 1
        if self.line == self.last_line or _NEXT_ON_LINE.match(self.text, end):
            location += f" (sentence {self.items})"
        self.last_line = self.line
        _check_characters(value, self.text[start:end], location)
        return location, value, end

    def _decode(self, start: int) -> tuple[Any, int]:
        try:
            return _DECODER.raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{self._location(error.pos)}: not JSON: {describe_json_error(error)}"
            ) from None
        except (ValueError, RecursionError) as error:
            self._fail(start, f"JSON that cannot be used: {describe_json_error(error)}")

    def _skip_space(self, start: int) -> int:
        match = _SPACE.match(self.text, start)
        assert match is not None
        return match.end()

    def _location(self, position: int) -> str:
        self.line += self.text.count("\n", self.counted, position)
        self.counted = max(self.counted, position)
        return f"{self.path}:{self.line}"

    def _fail(self, position: int, problem: str) -> NoReturn:
        column = position - self.text.rfind("\n", 0, position)
        raise DataError(f"{self._location(position)}: {problem} at column {column}")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises ValueError for a key that occurs twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {next(k for k in counts if counts[k] > 1)!r} occurs twice")
    return row


def _check_characters(value: Any, text: str, location: str) -> None:
    """Raise DataError if a text in `value`, which `text` spells, has half a UTF-16 pair."""
    if "\\u" in text and (half := _SURROGATE.search(json.dumps(value, ensure_ascii=False))):
        problem = f"{json.dumps(half[0])} is half a character, which UTF-8 cannot hold"
        raise DataError(f"{location}: {problem}")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys)
_ARRAY_OF_ROWS = re.compile(r"\s*\[\s*([\[{\]]|$)")
_ROW = re.compile(r'(\s*\[)*\s*(\{\s*"[^"]*"\s*:|"([^"\\]|\\.)*"\s*,\s*\{)')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{},]', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")
_NEXT_ON_LINE = re.compile(r"[ \t]*,[ \t]*[^\s]")
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can spell one half of a UTF-16 pair.
