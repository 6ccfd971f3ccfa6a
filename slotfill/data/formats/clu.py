"""Projects of Azure conversational language understanding (CLU), as exported and imported.

The category of an entity is the slot, and `dataset` the split: `Train`, which is also that of
utterances without one, or `Test`. `offset` and `length` are in the unit `stringIndexType`: UTF-16
code units by default, code points, or text elements, which are taken to be what the tokenizer
`characters` splits at. Every utterance counts as labelled. Lists of values, regular expressions and
prebuilt components are not read, and listed; versions, settings and other properties of the project
are left out without a word.

A complete project is written, which the service imports under the name of the file: with UTF-16
code units, in the language of the option `language`, and without `dataset`, which is Train to the
service. It needs an intent for each utterance.

    {"projectFileVersion": "2023-04-01", "stringIndexType": "Utf16CodeUnit",
     "metadata": {"projectKind": "Conversation", "projectName": "flights", "language": "en-us"},
     "assets": {
       "projectKind": "Conversation",
       "intents": [{"category": "flight"}],
       "entities": [{"category": "destination"}],
       "utterances": [
         {"text": "fly to New York", "language": "en-us", "intent": "flight", "dataset": "Train",
          "entities": [{"category": "destination", "offset": 7, "length": 8}]}]}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slotfill.data.formats._azure import UNITS, UTF16, OffsetReader, read_utterance
from slotfill.data.formats.base import Format, check_known, parse_each
from slotfill.data.json_objects import JsonObject, read_object, read_objects
from slotfill.data.offsets import to_utf16
from slotfill.data.sentence import Example, Sentence, describe_unread
from slotfill.errors import did_you_mean


class CLU(Format):
    """Projects of Azure CLU.

    language: the language of a project that is written, as Azure calls it.
    """

    suffixes = (".json",)
    has_tags = False
    reads_twice = True
    detected_by = "a JSON object with `projectKind` or `stringIndexType`"
    names_splits = True
    holds_unlabelled = False
    holds_half_labelled = False
    bookkeeping = frozenset({
        "projectFileVersion", "stringIndexType", "projectKind", "projectName", "multilingual",
        "settings", "compositionSetting", "requiredComponents", "associations",
    })  # fmt: skip

    def __init__(self, *, language: str = "en-us") -> None:
        self.language = language

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        text = "\n".join(head)
        return text.lstrip().startswith("{") and bool(
            re.search(r'"(projectKind|stringIndexType|projectFileVersion)"\s*:', text)
        )

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        project = read_object(path)
        unit = _read_unit(project)
        language = project.object("metadata").get("language", str, None)

        def parse(row: JsonObject) -> Example:
            example = read_utterance(row)
            example.split = row.get("dataset", str, "").lower() or None
            offsets = OffsetReader(example, unit)
            for entity in row.objects("entities"):
                start = entity.get("offset", int)
                end = start + entity.get("length", int)
                offsets.add_span(entity.get("category", str), start, end, entity)
            if row.items.get("language") == language:
                row.value("language")
            example.list_unread(row.unread())
            return example

        rows = read_objects(path, "assets", "utterances")
        yield from parse_each(parse, (row for _, row in rows))

    def unread(self, path: Path) -> Iterator[str]:
        project = read_object(path)
        metadata, assets = project.object("metadata"), project.object("assets")
        metadata.value("language")
        assets.value("utterances")
        for each in (*assets.objects("intents"), *assets.objects("entities")):
            each.value("category")
        yield from describe_unread(project.unread(self.bookkeeping))

    def write(self, path: Path, sentences: Iterable[Sentence], *, scheme: str) -> None:
        utterances, intents, entities = [], dict[str, None](), dict[str, None]()
        for sentence in sentences:
            utterances.append(self._utterance(sentence))
            if sentence.intent:
                intents[sentence.intent] = None
            entities.update((slot.name, None) for slot in sentence.slots or ())
        kind = "Conversation"
        project = {
            "projectFileVersion": "2023-04-01",
            "stringIndexType": UTF16,
            "metadata": {
                "projectKind": kind,
                "projectName": path.stem,
                "language": self.language,
                "multilingual": False,
                "settings": {"confidenceThreshold": 0},
            },
            "assets": {
                "projectKind": kind,
                "intents": [{"category": name} for name in intents],
                "entities": [{"category": name} for name in entities],
                "utterances": utterances,
            },
        }
        text = json.dumps(project, ensure_ascii=False, indent=1)
        path.write_text(f"{text}\n", encoding="utf-8", newline="\n")

    def _utterance(self, sentence: Sentence) -> dict[str, Any]:
        check_known(sentence, "clu")
        entities = []
        for slot in sentence.slots or ():
            start, end = (to_utf16(sentence.text, place) for place in sentence.span(slot))
            entities.append({"category": slot.name, "offset": start, "length": end - start})
        intent = {"intent": sentence.intent} if sentence.intent else {}
        return {"text": sentence.text, "language": self.language, **intent, "entities": entities}


def _read_unit(project: JsonObject) -> str:
    name = project.get("stringIndexType", str, UTF16)
    units = {unit.casefold(): unit for unit in UNITS}
    return units.get(name.casefold()) or project.fail(
        f'unknown "stringIndexType" {name!r}{did_you_mean(name, UNITS)}'
    )
