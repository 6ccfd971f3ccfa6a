"""Parquet and Arrow files, as Hugging Face stores data sets: a row is a sentence.

They need pyarrow: `pip install 'slotfill[parquet]'`. A row has tokens and tags, or text and
entities, in columns that are found by their names and types or given as options:

    {"tokens": ["fly", "to", "New", "York"], "ner_tags": ["O", "O", "B-destination", "I-destination"], "intent": "flight"}
    {"text": "fly to New York", "entities": [{"start": 7, "end": 15, "label": "destination"}], "intent": "flight"}

Tags, labels and intents are texts, or numbers whose names are a `ClassLabel` in the schema; a
negative number is a label that is not known. `end` is exclusive. Entities may also be one object of
lists, or a text of JSON, and the tags of a text one text, separated by spaces. Without tags or
entities the sentence is unlabelled. Other columns are left out. Messages count rows from 1: `train.parquet:row 3`.

A folder of the numbered files of one split is read like one file, as `save_to_disk` of the library
`datasets` writes it. Sentences of files of tokens are written in the first shape, others in the
second, each with its text and the names of its numbers.
"""  # noqa: E501 - The examples are lines.

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from slotfill.data.arrow import (
    MAGIC,
    SUFFIXES,
    Column,
    Feature,
    list_files,
    read_columns,
    read_rows,
    write_columns,
)
from slotfill.data.formats._json_rows import SPAN_FIELDS
from slotfill.data.formats.base import (
    Format,
    describe_other_files,
    example_from_tokens,
    parse_each,
    render_tags,
    split_on_spaces,
)
from slotfill.data.json_objects import JsonObject, describe_json_error, parse_json
from slotfill.data.offsets import is_same
from slotfill.data.schemes import UNKNOWN_TAG
from slotfill.data.sentence import Example, Sentence
from slotfill.errors import DataError, did_you_mean

_NAMES = {
    "tokens": ("tokens", "words"),
    "tags": ("ner_tags", "tags", "labels", "slots", "ner"),
    "text": ("text", "utterance", "sentence"),
    "spans": ("entities", "slots", "spans", "labels", "ner"),
    "intent": ("intent", "label"),
}
"""The usual names of each column; the first is the one that is written."""

_SHAPES = {
    "tokens": ("list of text",),
    "tags": ("list of text", "list of number", "text"),
    "text": ("text",),
    "spans": ("list of object", "object", "list of nothing", "text"),
    "intent": ("text", "number"),
}


class Parquet(Format):
    """Rows of Parquet and Arrow files; options are names of columns.

    tokens: the column of tokens; by default it is called `tokens` or `words`.
    tags: that of tags; by default `ner_tags`, `tags`, `labels`, `slots` or `ner`.
    text: that of the text; by default `text`, `utterance` or `sentence`.
    spans: that of slots with offsets; by default `entities`, `slots`, `spans`, `labels` or `ner`.
    intent: that of the intent; by default `intent`, or `label` if it has names.
    """

    suffixes = SUFFIXES
    detected_by = "the first bytes, or a folder of such files with numbers as names"
    magic = MAGIC
    reads_standard_input = False

    def __init__(
        self,
        *,
        tokens: str | None = None,
        tags: str | None = None,
        text: str | None = None,
        spans: str | None = None,
        intent: str | None = None,
    ) -> None:
        options = {"tokens": tokens, "tags": tags, "text": text, "spans": spans, "intent": intent}
        self.options = {role: column for role, column in options.items() if column}

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        return bool(list_files(path)) if path.is_dir() else super().recognizes(path)

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        files = list_files(path) if path.is_dir() else [path]
        if not files:
            raise DataError(
                f"{path}: not a folder of the numbered Parquet or Arrow files of one split; give a"
                " file"
            )
        for file in files:
            columns = read_columns(file)
            layout = _Layout(file, columns, self.options)
            names = list(layout.roles.values())
            others = [name for name in columns if name not in names]
            names += others if self.reads_extra else []
            for number, row in enumerate(read_rows(file, names), 1):
                extra = {name: row.pop(name, None) for name in others}
                values = JsonObject(row, f"{file}:row {number}")
                (example,) = parse_each(partial(layout.read, scheme=scheme), [values])
                example.list_unread(values.unread())
                example.list_unread(others if number == 1 else [], "column", extra)
                yield example

    def unread(self, path: Path) -> Iterator[str]:
        if path.is_dir():
            known = [*list_files(path), *path.glob("*.json")]  # What datasets writes beside them.
            yield from describe_other_files(path, known, "parquet")

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        sentences = list(sentences)
        for sentence in sentences:
            location = sentence.location or "sentence"
            if sentence.pretokenized != sentences[0].pretokenized:
                others = sentences[0].location or "others"
                problem = f"either it or {others} has tokens of its own, not both"
                raise DataError(f"{location}: {problem}, so parquet cannot hold them; write jsonl")
            if sentence.unknown and not sentence.pretokenized:
                problem = "has labels that are not known, and no tokens"
                raise DataError(f"{location}: {problem}, so parquet cannot hold it; write jsonl")
        columns: dict[str, tuple[Feature, list[Any]]] = {
            "text": ("string", [sentence.text for sentence in sentences])
        }
        if sentences and sentences[0].pretokenized:
            columns["tokens"] = (["string"], [sentence.surface_forms for sentence in sentences])
            columns["tags"] = _render_tag_column(sentences, scheme)
        else:
            columns["spans"] = _render_span_column(sentences)
        if any(sentence.intent for sentence in sentences):
            intents = sorted({sentence.intent for sentence in sentences if sentence.intent})
            ids = {intent: number for number, intent in enumerate(intents)}
            columns["intent"] = (tuple(ids), [ids.get(each.intent or "") for each in sentences])
        names = {role: names[0] for role, names in _NAMES.items()} | self.options
        write_columns(path, {names[role]: column for role, column in columns.items()})


class _Layout:
    """Which columns of a file hold what; reads its rows."""

    def __init__(
        self, path: Path, columns: Mapping[str, Column], options: Mapping[str, str]
    ) -> None:
        """Find the columns; raises DataError if it is not clear what they hold."""
        self.path = path
        self.columns = columns
        self.roles = _find_roles(path, columns, options)
        self.fields = dict[str, str]()
        self._check_labels()
        if "spans" in self.roles:
            self._find_fields(self.roles["spans"])

    def read(self, row: JsonObject, scheme: str) -> Example:
        """Return the example of a row; raises DataError if it cannot be read."""
        text = self._get(row, "text")
        intent = self._get(row, "intent")
        if isinstance(intent, int):
            intent = self._name(row, self.columns[self.roles["intent"]], intent)
        if "spans" in self.roles:
            example = Example(text or "", None, intent, row.location)
            self._add_spans(example, row)
            return example
        tokens = row.texts(self.roles["tokens"]) if "tokens" in self.roles else None
        tags = self._read_tags(row)
        if tokens is None and tags is not None:
            tokens = split_on_spaces(text or "")
        if tokens is None:
            return Example(text or "", None, intent, row.location)
        is_same = text is None or _equal_without_spaces(text, "".join(tokens))
        source = text if is_same else None
        example = example_from_tokens(tokens, tags, scheme, intent, [row.location], source)
        if not is_same:
            example.leave_out(f"the text {text!r}, which is not that of the tokens")
        return example

    def _read_tags(self, row: JsonObject) -> list[str] | None:
        tags = self._get(row, "tags")
        if tags is None:
            return None
        if isinstance(tags, str):
            return split_on_spaces(tags)
        column = self.columns[self.roles["tags"]]
        if column.shape == "list of text":
            return row.texts(self.roles["tags"])
        return [self._name(row, column, number) or UNKNOWN_TAG for number in tags]

    def _add_spans(self, example: Example, row: JsonObject) -> None:
        name = self.roles["spans"]
        if row.value(name) in (None, ""):
            return
        example.spans = []
        if self.columns[name].shape == "text":
            spans = _parse_spans(row, name)
        elif self.columns[name].shape == "object":
            lists = row.object(name)
            values = [lists.get(field, list) for field in self.fields.values()]
            if len({*map(len, values)}) > 1:
                row.fail(f"the lists in {name!r} differ in length")
            spans = [
                JsonObject(dict(zip(self.fields.values(), span, strict=True)), row.location)
                for span in zip(*values, strict=True)
            ]
        else:
            spans = row.objects(name)
        for span in spans:
            fields = self.fields or _span_fields(span.items)
            label = span.value(fields["label"]) if self.fields else span.get(fields["label"], str)
            if isinstance(label, int):
                label = self._name(row, self.columns[name].fields[fields["label"]], label)
            if not label:
                row.fail(f"a span without a label in {name!r}")
            start, end = (span.get(fields[key], int) for key in ("start", "end"))
            value, resolved = (
                span.get(fields[key], str, None) if key in fields else None
                for key in ("value", "resolved")
            )
            example.add_span(label, start, end, value, resolved)

    def _get(self, row: JsonObject, role: str) -> Any:
        """Return the value of a role; None if the file or the row has none."""
        return row.value(self.roles[role]) if role in self.roles else None

    def _name(self, row: JsonObject, column: Column, number: int | None) -> str | None:
        """Return the name of a number in a column; None if it is negative."""
        names = column.class_names or ()
        if number is None or number >= len(names):
            row.fail(f"found {number} where numbers have names from 0 to {len(names) - 1}")
        return names[number] if number >= 0 else None

    def _check_labels(self) -> None:
        """Raise DataError if there are no sentences, or labels that cannot be read."""
        is_text = "tags" in self.roles and self.columns[self.roles["tags"]].shape == "text"
        needed = ["tokens"] if "tags" in self.roles and not is_text else ["tokens", "text"]
        needed = ["text"] if "spans" in self.roles else needed
        if not any(role in self.roles for role in needed):
            raise DataError(
                f"{self.path}: no column of {' or '.join(needed)} among {', '.join(self.columns)};"
                f" name it, as data.format={{name: parquet, {needed[0]}: COLUMN}}"
            )
        for role in ("tags", "intent"):
            if role in self.roles:
                self._check_names(self.roles[role], self.columns[self.roles[role]])
        if "tags" in self.roles or "spans" in self.roles:
            return
        for name in (*_NAMES["tags"], *_NAMES["spans"]):
            if name in self.roles.values() or self.columns.get(name, _NOTHING) == _NOTHING:
                continue
            raise DataError(
                f"{self.path}: the column {name!r} may hold labels, but is"
                f" {self.columns[name].shape}; tags are {' or '.join(_SHAPES['tags'])}, spans"
                f" {_SHAPES['spans'][0]}"
            )

    def _find_fields(self, name: str) -> None:
        """Find the fields of the spans; raises DataError if one is missing."""
        column = self.columns[name]
        if column.shape in ("list of nothing", "text"):
            return
        for role, names in SPAN_FIELDS.items():
            if field := next((each for each in names if each in column.fields), None):
                self.fields[role] = field
            elif role in ("start", "end", "label"):
                raise DataError(
                    f"{self.path}: the objects in the column {name!r} have no field"
                    f" {' or '.join(map(repr, names))}, only {', '.join(column.fields)}"
                )
        label = self.fields["label"]
        self._check_names(f"{name}.{label}", column.fields[label])

    def _check_names(self, name: str, column: Column) -> None:
        if column.shape.endswith("number") and column.class_names is None:
            raise DataError(
                f"{self.path}: the column {name!r} holds numbers without names; give them names as"
                " a ClassLabel feature of datasets, or write texts"
            )


_NOTHING = Column("nothing")


def _parse_spans(row: JsonObject, name: str) -> list[JsonObject]:
    """Return the objects in a text of JSON; raises DataError if it is none."""
    try:
        values = parse_json(row.get(name, str), row.location)
    except json.JSONDecodeError as error:
        row.fail(f"{name!r} is not JSON: {describe_json_error(error)}")
    return JsonObject({name: values}, row.location).objects(name)


def _span_fields(names: Iterable[str]) -> dict[str, str]:
    """Return the name of each field of a span, of those that it has."""
    found = {
        role: next((each for each in allowed if each in names), None)
        for role, allowed in SPAN_FIELDS.items()
    }
    found |= {role: found[role] or SPAN_FIELDS[role][0] for role in ("start", "end", "label")}
    return {role: name for role, name in found.items() if name}


def _find_roles(
    path: Path, columns: Mapping[str, Column], options: Mapping[str, str]
) -> dict[str, str]:
    """Return the column of each role; raises DataError if there are several for one."""
    found = dict(options)
    for role, name in options.items():
        if name not in columns:
            raise DataError(f"{path}: no column {name!r}{did_you_mean(name, columns)}")
        if columns[name].shape not in _SHAPES[role]:
            allowed = " or ".join(_SHAPES[role])
            problem = f"the column {name!r} is {columns[name].shape}"
            raise DataError(f"{path}: {problem}; {role} must be {allowed}")
    for role, names in _NAMES.items():
        others = {"tags": "spans", "spans": "tags"}
        if role in options or others.get(role) in options:
            continue
        for name in names:
            column = columns.get(name)
            if column is None or column.shape not in _SHAPES[role] or name in options.values():
                continue
            if name == "label" and column == Column("number"):
                continue
            if role == "spans" and column.shape == "text" and name in _NAMES["tags"]:
                continue  # A text of tags.
            first = found.get(role) or found.get(others.get(role, ""))
            if first:
                raise DataError(
                    f"{path}: the columns {first!r} and {name!r} could both be the"
                    f" {'labels' if role in others else role}; choose one, as"
                    f" data.format={{name: parquet, {role}: {name}}}"
                )
            found[role] = name
    return found


def _equal_without_spaces(text: str, other: str) -> bool:
    return is_same("".join(text.split()), "".join(other.split()))


def _render_tag_column(sentences: list[Sentence], scheme: str) -> tuple[Feature, list[Any]]:
    """Return the tags of each sentence as numbers, and their names."""
    rows = [None if s.slots is None else render_tags(s, scheme) for s in sentences]
    tags = {*chain.from_iterable(row for row in rows if row)} - {"O", UNKNOWN_TAG}
    names = ("O", *sorted(tags, key=lambda tag: (tag[2:], tag)))
    ids = {name: number for number, name in enumerate(names)} | {UNKNOWN_TAG: -1}
    return [names], [row and [ids[tag] for tag in row] for row in rows]


def _render_span_column(sentences: list[Sentence]) -> tuple[Feature, list[Any]]:
    """Return the slots of each sentence with offsets and a number as label, and the names."""
    names = tuple(sorted({slot.name for each in sentences for slot in each.slots or ()}))
    ids = {name: number for number, name in enumerate(names)}
    feature = {"start": "int64", "end": "int64", "label": names, "value": "string"}
    has_resolved = any(any(sentence.resolved or ()) for sentence in sentences)
    if has_resolved:
        feature["resolved"] = "string"
    rows: list[Any] = []
    for sentence in sentences:
        if sentence.slots is None:
            rows.append(None)
            continue
        rows.append([])
        for slot, resolved in zip_longest(sentence.slots, sentence.resolved or ()):
            start, end = sentence.span(slot)
            values = (start, end, ids[slot.name], sentence.text[start:end], resolved)
            rows[-1].append(dict(zip(feature, values, strict=False)))
    return [feature], rows
