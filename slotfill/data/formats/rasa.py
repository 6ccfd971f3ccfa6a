r"""Training data of Rasa NLU: a file of YAML, JSON or Markdown, or a folder of them.

Other files of a folder, such as stories, are not read, and neither is what YAML has beside `nlu:`.
A slot is named after its entity and its role: `city.origin`; what its `value` is becomes
`resolved`. A retrieval intent keeps its name, `faq/baggage`. Groups and metadata are not read.
Every example counts as labelled.

As for Rasa, brackets followed by an entity are a slot, and nothing else is: there is no escape for
them. White space around an example is dropped. Synonyms, lookup tables and regular expressions are
no sentences; they can be used as [known values](values.md).

YAML is written, with the examples of an intent together, those with line ends or unusual characters
apart. Each sentence needs an intent.

    version: "3.1"
    nlu:
    - intent: flight
      examples: |
        - fly to [New York](destination)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import yaml

from slotfill.config.yaml_reader import dump
from slotfill.data.formats.base import (
    Format,
    KnownValuesFound,
    check_known,
    describe_other_files,
    parse_each,
    read_each,
)
from slotfill.data.json_objects import (
    JsonObject,
    describe_json_error,
    parse_json,
    read_object,
    read_objects,
)
from slotfill.data.offsets import NEAREST, ForwardSearch, find_value
from slotfill.data.sentence import Example, Sentence, Span, describe_unread
from slotfill.data.yaml_values import YamlValue, read_documents
from slotfill.errors import DataError, shorten_text
from slotfill.files import read_lines

_KINDS = ("intent", "synonym", "lookup", "regex")
_EXAMPLES = ("common_examples", "intent_examples", "entity_examples")
_VALUES = ("entity_synonyms", "regex_features", "lookup_tables")
"""The keys of JSON that have examples, and lists of values."""
_NLU = re.compile(r"nlu\s*:\s*(#.*)?$|\s*examples\s*:\s*[|>]")
_HEADING = re.compile(rf"##\s*({'|'.join(_KINDS)})\s*:\s*(.+)")
_COMMENT = re.compile(r"<!--.*?-->")
_WHITE_SPACE = " \r\n"
"""What is dropped around an example."""

_BLOCK_LINE = re.compile(
    "[\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]+"
)
"""A text that can be a line of a YAML block."""

_HEAD_BYTES = 100_000
_MAX_DEPTH = 3


class _Item(NamedTuple):
    """An example of an intent, a synonym, a lookup table or a regular expression."""

    kind: str
    name: str
    text: str
    location: str
    unread: Sequence[str] = ()
    """The keys that it has besides, such as metadata."""


class Rasa(Format):
    """Examples grouped by intent, slots in brackets."""

    suffixes = (".yml", ".yaml", ".json", ".md")
    has_tags = False
    reads_twice = True
    detected_by = (
        "`nlu:`, `rasa_nlu_data` or `## intent:`, or a folder of such files, none called `train`"
    )
    holds_unlabelled = False
    holds_half_labelled = False
    needs_intents = True
    frame = ('version: "3.1"\nnlu:\n', "", "")

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        if not path.is_dir():
            return path.suffix.lower() in cls.suffixes
        # A folder with a file such as train.yml is one of splits.
        is_corpus = any(entry.stem == "train" for entry in path.iterdir())
        return not is_corpus and next(cls._find_files(path), None) is not None

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        is_json = bool(head) and head[0].lstrip().startswith("{")
        if is_json:
            return '"rasa_nlu_data"' in "".join(head)
        return any(_NLU.match(line) or _HEADING.match(line) for line in head)

    @classmethod
    def _find_files(cls, path: Path) -> Iterator[Path]:
        """Yield `path`, or the files in it that look like this format, in order."""
        if not path.is_dir():
            yield path
            return
        patterns = ("/".join("*" * depth) for depth in range(1, _MAX_DEPTH + 1))
        for file in sorted(chain.from_iterable(map(path.glob, patterns))):
            is_hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.suffix.lower() in cls.suffixes and file.is_file() and not is_hidden:
                with file.open("rb") as stream:
                    head = stream.read(_HEAD_BYTES).decode("utf-8-sig", "replace").splitlines()
                if cls.looks_like([line for line in head if line.strip()]):
                    yield file

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        yield from read_each(_read_examples, self._find_files(path))

    def unread(self, path: Path) -> Iterator[str]:
        if path.is_dir():
            yield from describe_other_files(path, self._find_files(path), "rasa")
        for file in self._find_files(path):
            keys = list(_list_other_keys(file))
            for described in describe_unread(keys):
                yield described if file == path else f"{file}: {described}"

    def known_values(self, path: Path) -> KnownValuesFound:
        lists: dict[str, dict[str, list[str]]] = {kind: {} for kind in _KINDS}
        for file in self._find_files(path):
            for item in (_read_json_values if _is_json(file) else _read_items)(file):
                if isinstance(item, DataError):
                    raise item
                lists[item.kind].setdefault(item.name, []).append(item.text)
        # A synonym of Rasa is of all entities: it is one of those whose examples have it.
        forms = lists["synonym"]
        canonical = {form: value for value, texts in forms.items() for form in (value, *texts)}
        synonyms: dict[str, dict[str, list[str]]] = {}
        known = set[tuple[str, str, str]]()
        for example in self.read(path, scheme=""):
            for span in example.spans or ():
                text = example.text[span.start : span.end]
                value = span.resolved or canonical.get(text)
                if value is not None:
                    values = synonyms.setdefault(span.name, {})
                    if value not in values:
                        values[value] = list(forms.get(value, ()))
                        known |= {(span.name, value, each) for each in (value, *values[value])}
                    if (span.name, value, text) not in known:
                        known.add((span.name, value, text))
                        values[value].append(text)
        used = {value for values in synonyms.values() for value in values}
        if unused := {value: texts for value, texts in forms.items() if value not in used}:
            synonyms[""] = unused
        return KnownValuesFound(synonyms, lists["lookup"], lists["regex"])

    def arrange(self, sentences: Iterable[Sentence]) -> list[Sentence]:
        groups = _group(sentences).values()
        return [sentence for group in groups for sentence, _ in group]

    def render(self, sentence: Sentence, *, scheme: str) -> str:
        return "".join(_render(sentence))

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(self.frame[0])
            for head, group in _group(sentences).items():
                file.write(head)
                file.writelines(example for _, example in group)


def _list_other_keys(path: Path) -> Iterator[str]:
    """Yield the keys of a file that have neither examples nor values."""
    if _is_json(path):
        content = read_object(path)
        data = content.object("rasa_nlu_data")
        for key in (*_EXAMPLES, *_VALUES):
            data.value(key)
        yield from content.unread()
    elif _is_yaml(path):
        for document in read_documents(path):
            yield from (key for key in document.fields if key not in ("version", "nlu"))


def _is_json(path: Path) -> bool:
    return next((line.lstrip()[0] == "{" for _, line in read_lines(path) if line.strip()), False)


def _read_examples(path: Path) -> Iterator[Example]:
    """Yield the examples of a file."""
    if _is_json(path):
        yield from parse_each(_parse_json, (row for _, row in _read_objects(path, *_EXAMPLES)))
    else:
        items = _read_items(path)
        are_examples = (i for i in items if isinstance(i, DataError) or i.kind == "intent")
        yield from parse_each(_parse, are_examples)


def _read_items(path: Path) -> Iterator[_Item | DataError]:
    """Yield what a file of YAML or Markdown has, and an error for each item that is not valid."""
    return _read_yaml(path) if _is_yaml(path) else _read_markdown(path)


def _is_yaml(path: Path) -> bool:
    lines = [line for _, line in read_lines(path)]
    return any(map(_NLU.match, lines)) or not any(map(_HEADING.match, lines))


def _read_yaml(path: Path) -> Iterator[_Item | DataError]:
    documents = [document.fields for document in read_documents(path)]
    if documents and not any("nlu" in fields for fields in documents):
        raise DataError(f"{path}:1: no examples under the key nlu, where Rasa NLU has them")
    for entry in chain.from_iterable(
        fields["nlu"].items for fields in documents if "nlu" in fields
    ):
        try:
            yield from _read_entry(entry)
        except DataError as error:
            yield error


def _read_entry(entry: YamlValue) -> Iterator[_Item | DataError]:
    """Yield the examples of one intent, synonym, lookup table or regular expression."""
    fields = entry.fields
    kind = next((kind for kind in _KINDS if kind in fields), None)
    if kind is None:
        entry.fail(f"expected one of {', '.join(_KINDS)} with a name, found none")
    item = _Item(kind, fields[kind].text, "", "")
    if examples := fields.get("examples"):
        unread = [key for key in fields if key not in (kind, "examples")]
        item = item._replace(unread=unread)
        yield from (_read_list if examples.is_list else _read_block)(examples, item)


def _read_block(examples: YamlValue, item: _Item) -> Iterator[_Item | DataError]:
    """Yield `item` with the text of each line of a block, which all begin with a hyphen."""
    for location, line in examples.lines:
        line = line.lstrip(" ")
        if line.startswith("-"):
            yield item._replace(text=line[1:].strip(_WHITE_SPACE), location=location)
        elif line.strip() and not line.startswith("#"):
            yield _expected_example(location, line)


def _expected_example(location: str, line: str) -> DataError:
    return DataError(f"{location}: expected an example after '- ', found {shorten_text(line)!r}")


def _read_list(examples: YamlValue, item: _Item) -> Iterator[_Item | DataError]:
    """Yield `item` with the text of each entry, and its other keys."""
    for entry in examples.items:
        try:
            fields = entry.fields
            if "text" not in fields:
                entry.fail("expected an example with a text")
            lines = (location for location, line in fields["text"].lines if line.strip())
            location = next(lines, fields["text"].location)
            text = fields["text"].text.strip(_WHITE_SPACE)
        except DataError as error:
            yield error
            continue
        keys = [f"examples.{key}" for key in fields if key != "text"]
        yield item._replace(text=text, location=location, unread=[*item.unread, *keys])


def _read_markdown(path: Path) -> Iterator[_Item | DataError]:
    kind = name = ""
    is_comment = False
    for number, line in read_lines(path):
        location = f"{path}:{number}"
        closed, end, rest = line.rpartition("-->")
        line = _COMMENT.sub("", closed + end) + rest
        if is_comment:
            _, end, line = line.partition("-->")
            is_comment = not end
        line, start, _ = line.partition("<!--")
        is_comment = is_comment or bool(start)
        line = line.strip()
        if heading := _HEADING.match(line):
            kind, name = heading[1], heading[2].strip()
        elif line.startswith("##"):
            kind, name = "", line
        elif line[:1] in ("-", "*", "+") and name and not kind:
            allowed = ", ".join(_KINDS)
            found = f"an example under the heading {shorten_text(name)!r}"
            problem = f"{found}; write '## KIND: NAME', where KIND is one of {allowed}"
            yield DataError(f"{location}: {problem}")
        elif line[:1] in ("-", "*", "+") and kind:
            yield _Item(kind, name, line[1:].strip(), location)
        elif kind == "lookup" and line and not line.startswith("#"):
            yield from _read_lookup_file(path, line, name, location)
        elif line and not line.startswith("#"):
            yield _expected_example(location, line)


def _read_lookup_file(path: Path, file: str, name: str, location: str) -> Iterator[_Item]:
    """Yield the lines of a `file` that a lookup table in the file `path` consists of."""
    found = next((each for each in (path.parent / file, Path(file)) if each.is_file()), None)
    if found is None:
        raise DataError(f"{location}: no file {file}, which the lookup table {name} names")
    for number, line in read_lines(found):
        if line.strip():
            yield _Item("lookup", name, line.strip(), f"{found}:{number}")


def _parse(item: _Item) -> Example:
    """Return the example of an intent."""
    example = Example("", [], item.name, item.location)
    example.list_unread(item.unread)
    text, done = StringIO(), 0
    for bracket, after, end in _find_entities(item.text):
        text.write(item.text[done:bracket])
        start, done = text.tell(), end
        words, label = item.text[bracket + 1 : after - 1], item.text[after:end]
        text.write(words)
        for entity in _parse_entities(words, label, item.location):
            _add_entity(example, entity, start, text.tell())
            example.list_unread(entity.unread())
    example.text = text.getvalue() + item.text[done:]
    return example


def _find_entities(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield where each entity begins, where its label does, and where it ends, as for Rasa.

    It is `[words]` and `(name)`, `(name:value)`, `{JSON}`, or `[{JSON}]` in one line.
    """
    find, size = ForwardSearch(text).find, len(text)
    start = find("[", 0)
    while (closing := find("]", start + 1)) < size:
        end, after = 0, closing + 1
        if closing == start + 1:
            pass  # No words.
        elif text.startswith("(", after):
            last, colon = find(")", after), find(":", after)
            if last < size and colon != after + 1 and last not in (after + 1, colon + 1):
                end = last + 1
        elif text.startswith("{", after):
            last = find("}", after)
            if last < size and last != after + 1:
                end = last + 1
        elif text.startswith("[{", after):
            last = find("}]", after + 2)
            if last < find("\n", after):
                end = last + 2
        if end:
            yield start, after, end
        start = find("[", end or after)


def _parse_entities(words: str, label: str, location: str) -> list[JsonObject]:
    """Return the JSON objects that `label`, which follows the `words` of an entity, stands for."""
    if label[0] == "(":
        name, _, value = label[1:-1].partition(":")
        return [JsonObject({"entity": name, "value": value or None}, "")]
    try:
        entities = parse_json(label if label[0] == "[" else f"[{label}]", location)
    except json.JSONDecodeError as error:
        problem = f"what follows [{words}] is not JSON: {describe_json_error(error)}"
        raise DataError(f"{location}: {problem}") from None
    return JsonObject({"entities": entities}, location).objects("entities")


def _add_entity(
    example: Example, entity: JsonObject, start: int, end: int, words: str | None = None
) -> None:
    """Add a slot; its value is what it stands for, unless it is the `words` of the slot."""
    name, role = entity.get("entity", str), entity.get("role", str, None)
    name = f"{name}.{role}" if role else name
    value = None if words else entity.value("value")
    resolved = value if value is None or isinstance(value, str) else json.dumps(value)
    example.add_span(name, start, end, words, resolved)
    if group := entity.value("group"):
        example.leave_out(f"the group {group!r} of slot '{name}'")


def _parse_json(row: JsonObject) -> Example:
    """Return the example of an intent in JSON."""
    text = row.get("text", str)
    example = Example(text, [], row.get("intent", str, None) or None, row.location)
    for entity in row.objects("entities"):
        start, end = entity.get("start", int), entity.get("end", int)
        value = entity.value("value")
        found = find_value(text, start, end, value) if isinstance(value, str) else None
        # A value that is only elsewhere in the text is what the slot stands for.
        words = value if found and found[2] != NEAREST else None
        _add_entity(example, entity, start, end, words)
    example.list_unread(row.unread())
    return example


def _read_json_values(path: Path) -> Iterator[_Item]:
    for key, row in _read_objects(path, *_VALUES):
        if key == "entity_synonyms":
            for text in row.texts("synonyms") or ():
                yield _Item("synonym", row.get("value", str), text, row.location)
        elif key == "regex_features":
            yield _Item("regex", row.get("name", str), row.get("pattern", str), row.location)
        else:
            name, elements = row.get("name", str), row.value("elements")
            if isinstance(elements, str):
                yield from _read_lookup_file(path, elements, name, row.location)
            else:
                for text in row.texts("elements") or ():
                    yield _Item("lookup", name, text, row.location)


def _read_objects(path: Path, *names: str) -> Iterator[tuple[str, JsonObject]]:
    """Yield the objects in the arrays of these names, each with the name of its array."""
    for name in names:
        yield from ((name, row) for _, row in read_objects(path, "rasa_nlu_data", name))


def _group(sentences: Iterable[Sentence]) -> dict[str, list[tuple[Sentence, str]]]:
    """Return `sentences`, each as it is rendered, by the head of the group that they are in."""
    groups: dict[str, list[tuple[Sentence, str]]] = {}
    for sentence in sentences:
        head, example = _render(sentence)
        groups.setdefault(head, []).append((sentence, example))
    return groups


def _render(sentence: Sentence) -> tuple[str, str]:
    """Return the head of the group of examples that `sentence` is in, and itself."""
    location = sentence.location or "sentence"
    if not sentence.intent:
        raise DataError(f"{location}: no intent, which Rasa needs; write jsonl or brackets")
    check_known(sentence, "rasa")
    parts, spans, done = list[str](), list[Span](), 0
    for slot, value in zip(sentence.slots or (), sentence.resolved or repeat(None), strict=False):
        span = Span(slot.name, *sentence.span(slot), value)
        parts += sentence.text[done : span.start], _render_slot(sentence.text, span)
        spans.append(span)
        done = span.end
    text = "".join(parts) + sentence.text[done:]
    try:
        example = _parse(_Item("intent", "", text.strip(_WHITE_SPACE), location))
    except DataError:
        example = Example("")
    if (example.text, example.spans) != (sentence.text, spans):
        problem = f"rasa would read {text!r} differently; write jsonl"
        raise DataError(f"{location}: {problem}")
    intent = "- " + dump({"intent": sentence.intent}).rstrip("\n").replace("\n", "\n  ") + "\n"
    if _BLOCK_LINE.fullmatch(text):
        return f"{intent}  examples: |\n", f"    - {text}\n"
    quoted = yaml.dump(text, default_style='"', allow_unicode=True, width=math.inf)
    return f"{intent}  examples:\n", f"  - text: {quoted}"


def _render_slot(text: str, span: Span) -> str:
    entity, _, role = span.name.rpartition(".")
    if not (entity and role):
        entity, role = span.name, ""
    value = text[span.start : span.end]
    if not role and span.resolved is None and not re.search("[:)]", entity):
        return f"[{value}]({entity})"
    fields = {"entity": entity, "role": role or None, "value": span.resolved}
    content = json.dumps({k: v for k, v in fields.items() if v is not None}, ensure_ascii=False)
    escaped = content[1:-1].replace("}", "\\u007d")
    return f"[{value}]{{{escaped}}}"
