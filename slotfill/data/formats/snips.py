"""Training data of Snips NLU: YAML, its JSON, and the JSON of the benchmark of 2017.

Slots are written the other way round than in brackets: `[slot:entity](words)`, where the entity may
be left out. A slot without words, `[slot]`, takes the values of its entity and their synonyms in
turn. In JSON, a slot without `slot_name` is named after its entity. Values of entities are no
sentences; they can be used as [known values](values.md).

    type: intent
    name: flight
    utterances:
      - fly to [destination:city](New York)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, NoReturn

from slotfill.data.formats.base import Format, KnownValuesFound, parse_each
from slotfill.data.json_objects import JsonObject, read_object, read_objects
from slotfill.data.offsets import ForwardSearch
from slotfill.data.sentence import Example, describe_unread, example_from_parts
from slotfill.data.yaml_values import YamlValue, read_documents
from slotfill.errors import DataError, shorten_text
from slotfill.files import read_lines

_SLOT = re.compile(r"\[([^\[\]:]*)(?::([^\[\]]*))?\]")
_TYPE = re.compile(r"type\s*:\s*[\"']?(intent|entity)[\"']?\s*(#.*)?$")
_DATASET = re.compile(
    r'"(use_synonyms|automatically_extensible|matching_strictness)"\s*:'
    r'|"intents"\s*:\s*\{\s*"[^"]*"\s*:\s*\{\s*"utterances"\s*:\s*\[\s*\{\s*"data"\s*:'
)
_BENCHMARK = re.compile(r'\{\s*"[^"]+"\s*:\s*\[\s*\{\s*"data"\s*:\s*\[')


class _Part(NamedTuple):
    """A part of an utterance; without the name of a slot, it is plain text."""

    text: str
    slot: str = ""
    entity: str = ""


class _Utterance(NamedTuple):
    """An utterance whose slots may have no words."""

    parts: list[_Part]
    intent: str
    location: str


class Snips(Format):
    """Utterances of intents, with slots in brackets or in parts."""

    suffixes = (".yaml", ".yml", ".json")
    has_tags = False
    reads_twice = True
    detected_by = "`type: intent`, or JSON whose utterances are in parts"

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        text = "\n".join(head).lstrip()
        if text.startswith("{"):
            return bool(_DATASET.search(text) or _BENCHMARK.match(text))
        return any(map(_TYPE.match, head))

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        if layout := _json_layout(path):
            yield from parse_each(_parse, read_objects(path, *layout))
            return
        utterances, entities, problems = _read_yaml(path)
        values = {
            entity: cycle([text for row in rows for text in row])
            for entity, rows in _add_words(utterances, entities).items()
        }

        def parse(utterance: _Utterance) -> Example:
            filled: list[tuple[str, str, None]] = []
            for text, slot, entity in utterance.parts:
                value = text or (next(values[entity], None) if entity in values else None)
                if not value:
                    problem = f"the slot '{slot}' has no words, and its entity '{entity}' no values"
                    hint = f"write [{slot}](words)"
                    raise DataError(f"{utterance.location}: {problem}; {hint}")
                filled.append((value, slot, None))
            example = example_from_parts(filled, utterance.location, utterance.intent)
            _note_entities(example, utterance.parts)
            return example

        rows: list[_Utterance | DataError] = [*problems, *utterances]
        yield from parse_each(parse, rows)

    def unread(self, path: Path) -> Iterator[str]:
        if layout := _json_layout(path):
            content = read_object(path)
            if len(layout) > 1:
                content.value("entities")  # They are known values.
                intents = content.object("intents")
                for name in intents.items:
                    intents.object(name).value("utterances")
                yield from describe_unread(content.unread())
            return
        known = ("type", "name", "slots", "utterances", "values")
        documents = (each.fields for each in read_documents(path) if not each.is_none)
        keys = dict.fromkeys(key for fields in documents for key in fields if key not in known)
        yield from describe_unread([*keys])

    def known_values(self, path: Path) -> KnownValuesFound:
        slots: dict[str, dict[str, None]] = {}
        if layout := _json_layout(path):
            parts = [part for _, row in read_objects(path, *layout) for part in _read_parts(row)]
            entities = _read_json_entities(path) if len(layout) > 1 else {}
        else:
            utterances, entities, problems = _read_yaml(path)
            if problems:
                raise problems[0]
            parts = [part for utterance in utterances for part in utterance.parts]
        for part in parts:
            if part.slot:
                slots.setdefault(part.entity, {})[part.slot] = None
        synonyms: dict[str, dict[str, list[str]]] = {}
        for entity, rows in entities.items():
            for slot in slots.get(entity, [""]):
                for value, *others in rows:
                    if others:
                        synonyms.setdefault(slot, {})[value] = others
        lists = {name: [text for row in rows for text in row] for name, rows in entities.items()}
        return KnownValuesFound(synonyms, lists)


def _json_layout(path: Path) -> tuple[str, ...]:
    """Return the keys that lead to the utterances of a JSON file; none for another file."""
    text = "\n".join(line for _, line in read_lines(path)).lstrip()
    if not text.startswith("{"):
        return ()
    return ("*",) if _BENCHMARK.match(text) else ("intents", "*", "utterances")


def _parse(row_at: tuple[tuple[str, ...], JsonObject]) -> Example:
    """Return the example of an utterance of JSON, which is found under some keys."""
    keys, row = row_at
    parts = list(_read_parts(row))
    given = [(part.text, part.slot, None) for part in parts]
    example = example_from_parts(given, row.location, keys[1] if len(keys) > 1 else keys[0])
    _note_entities(example, parts)
    example.list_unread(row.unread())
    return example


def _note_entities(example: Example, parts: Iterable[_Part]) -> None:
    """Note the entities of slots that are called otherwise."""
    for part in dict.fromkeys(part._replace(text="") for part in parts):
        if part.entity not in ("", part.slot):
            example.add_issue("not read", f"the entity '{part.entity}' of slot '{part.slot}'")


def _read_parts(row: JsonObject) -> Iterator[_Part]:
    """Yield the parts of an utterance of JSON."""
    for part in row.objects("data"):
        entity = part.get("entity", str, "")
        yield _Part(part.get("text", str), part.get("slot_name", str, entity), entity)


def _read_json_entities(path: Path) -> dict[str, list[list[str]]]:
    """Return the values of each entity, each with its synonyms."""
    entities: dict[str, list[list[str]]] = {}
    for (_, entity, _), row in read_objects(path, "entities", "*", "data"):
        values = [row.get("value", str), *(row.texts("synonyms") or ())]
        entities.setdefault(entity, []).append(values)
    return entities


def _read_yaml(
    path: Path,
) -> tuple[list[_Utterance], dict[str, list[list[str]]], list[DataError]]:
    """Return the utterances of a file, the values of each entity with their synonyms, and errors.

    The errors are those of documents and utterances that cannot be read.
    """
    utterances: list[_Utterance] = []
    entities: dict[str, list[list[str]]] = {}
    problems: list[DataError] = []
    for document in read_documents(path):
        try:
            if not document.is_none:
                _read_document(document, utterances, entities, problems)
        except DataError as error:
            problems.append(error)
    values = {name: [row for row in rows if row] for name, rows in entities.items()}
    return utterances, values, problems


def _read_document(
    document: YamlValue,
    utterances: list[_Utterance],
    entities: dict[str, list[list[str]]],
    problems: list[DataError],
) -> None:
    """Add what a document has."""
    fields = document.fields
    if "type" not in fields or fields["type"].text not in ("intent", "entity"):
        document.fail("expected 'type: intent' or 'type: entity', as in files of Snips NLU")
    if "name" not in fields:
        document.fail("expected the name of the intent or the entity, found none")
    name = fields["name"].text
    if fields["type"].text == "intent":
        for found in _read_utterances(fields, name):
            if isinstance(found, DataError):
                problems.append(found)
            else:
                utterances.append(found)
    else:
        rows = entities.setdefault(name, [])
        for value in fields["values"].items if "values" in fields else ():
            rows.append([each.text for each in (value.items if value.is_list else [value])])


def _read_utterances(
    fields: Mapping[str, YamlValue], intent: str
) -> Iterator[_Utterance | DataError]:
    """Yield the utterances of an intent, and an error for each that is not valid."""
    entities: dict[str, str] = {}
    for declared in fields["slots"].items if "slots" in fields else ():
        pair = declared.fields
        for key in ("name", "entity"):
            if key not in pair:
                declared.fail(f"expected the {key} of a slot, found none")
        entities[pair["name"].text] = pair["entity"].text
    for value in fields["utterances"].items if "utterances" in fields else ():
        try:
            yield _Utterance(_parse_utterance(value, entities), intent, value.location)
        except DataError as error:
            yield error


def _parse_utterance(value: YamlValue, entities: dict[str, str]) -> list[_Part]:
    """Return the parts of an utterance; `entities` are those of the slots so far."""
    parts, done, text = [], 0, value.text.strip()
    search = ForwardSearch(text)
    while match := _SLOT.search(text, done):
        (slot, entity), start, end = match.groups(), match.end(), match.end()
        if text.startswith("(", start) and (closing := search.find(")", start)) < len(text):
            end = closing + 1
        if not slot or end == start + 2:
            _fail(value, text[match.start() : end])
        parts.append(_Part(text[done : match.start()]))
        entity = entities.setdefault(slot, entity or slot)
        parts.append(_Part(text[start + 1 : end - 1], slot, entity))
        done = end
    parts = [part for part in (*parts, _Part(text[done:])) if part.text or part.slot]
    for part in parts:
        if not part.slot and re.search(r"[\[\]]", part.text):
            _fail(value, part.text)
    return parts


def _fail(value: YamlValue, found: str) -> NoReturn:
    value.fail(f"expected [slot](words) or [slot:entity](words), found {shorten_text(found)!r}")


def _add_words(
    utterances: Sequence[_Utterance], entities: Mapping[str, list[list[str]]]
) -> dict[str, list[list[str]]]:
    """Return the values of each entity, and then those that utterances have beside them."""
    values = {entity: list(rows) for entity, rows in entities.items()}
    seen = {(entity, text) for entity, rows in values.items() for row in rows for text in row}
    for utterance in utterances:
        for part in utterance.parts:
            if part.slot and part.text and (part.entity, part.text) not in seen:
                seen.add((part.entity, part.text))
                values.setdefault(part.entity, []).append([part.text])
    return values
