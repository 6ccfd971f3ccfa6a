"""Training phrases of Dialogflow ES and CX: JSON files, folders of them, and exported zip files.

An ES file `NAME_usersays_en.json` has the phrases of the intent NAME, and a slot is named after its
`alias`. A CX file has `trainingPhrases`, beside `displayName` or in the folder of the intent, and a
slot is named after its `parameterId`. Ids, counts, dates and the types of entities are bookkeeping,
and left out without a word. Of a folder or a zip file, the phrases in all languages are read, and
other files are not.

    {"displayName": "flight",
     "trainingPhrases": [
       {"parts": [{"text": "fly to "}, {"text": "New York", "parameterId": "destination"}]}]}
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

from slotfill.data.formats.base import Format, describe_other_files, parse_each, read_each
from slotfill.data.json_objects import JsonObject, read_object, read_objects
from slotfill.data.sentence import Example, describe_unread, example_from_parts
from slotfill.errors import DataError
from slotfill.files import read_lines
from slotfill.text_lines import decode_lines

_USER_SAYS = re.compile(r"(.+)_usersays_[\w-]+$")
_MAX_BYTES = 1 << 30
"""How much all phrases in a zip file may have, against archives that never end."""


class Dialogflow(Format):
    """Phrases in parts, each of which may be a slot."""

    suffixes = (".json", ".zip")
    has_tags = False
    bookkeeping = frozenset({
        "id", "count", "repeatCount", "updated", "lang", "languageCode", "meta", "entityType",
        "userDefined", "parameters", "name", "priority", "isFallback", "auto", "numTrainingPhrases",
    })  # fmt: skip
    detected_by = "JSON with `userDefined` or `trainingPhrases`, or a folder of such files"

    @classmethod
    def recognizes(cls, path: Path) -> bool:
        if path.is_dir():
            return next(_find_files(path), None) is not None
        return path.suffix.lower() in cls.suffixes

    @classmethod
    def looks_like(cls, head: Sequence[str]) -> bool:
        text = "\n".join(head).lstrip()
        if text.startswith("["):
            return '"userDefined"' in text or '"isTemplate"' in text
        return text.startswith("{") and '"trainingPhrases"' in text

    def read(self, path: Path, *, scheme: str) -> Iterator[Example]:
        if path.is_dir():
            yield from read_each(_read_phrases, _find_files(path))
        else:
            yield from _read_phrases(path)

    def unread(self, path: Path) -> Iterator[str]:
        if path.is_dir():
            yield from describe_other_files(path, _find_files(path), "dialogflow")
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                others = [each for each in archive.namelist() if not _has_phrases(Path(each))]
            others = [each for each in others if each[-1] != "/"]
            yield from (f"{found} by dialogflow" for found in describe_unread(others, "file"))
        for file, text in _read_files(path):
            if not text.lstrip().startswith("["):
                content = read_object(file, text)
                for key in ("displayName", "trainingPhrases"):
                    content.value(key)
                for keys in describe_unread(content.unread(self.bookkeeping)):
                    yield keys if file == path else f"{file}: {keys}"


def _read_phrases(path: Path) -> Iterator[Example]:
    for file, text in _read_files(path):
        intent = _intent_of(file)
        if text.lstrip().startswith("["):
            rows, key = read_objects(file, text=text), "data"
        else:
            intent = read_object(file, text).get("displayName", str, intent)
            rows, key = read_objects(file, "trainingPhrases", text=text), "parts"
        parse = partial(_example, key=key, intent=intent)
        yield from parse_each(parse, (row for _, row in rows))


def _example(row: JsonObject, key: str, intent: str) -> Example:
    if key == "data" and row.get("isTemplate", bool, False):
        row.fail("a template, which has no values; write example phrases")
    parts = [(part.get("text", str), _slot_name(part), None) for part in row.objects(key)]
    example = example_from_parts(parts, row.location, intent)
    example.list_unread(row.unread(Dialogflow.bookkeeping))
    return example


def _slot_name(part: JsonObject) -> str:
    """Return the name of the slot that `part` is, empty if it is none."""
    kind_key = "meta" if part.items.get("meta") else "entityType"
    if part.items.get(kind_key) == "@sys.ignore":
        return ""
    named = (part.get(key, str, "") for key in ("parameterId", "alias"))
    return next(filter(None, named), None) or part.get(kind_key, str, "").removeprefix("@")


def _intent_of(path: Path) -> str:
    """Return the intent that a file is named after: its name, or that of its folder for CX."""
    if match := _USER_SAYS.match(path.stem):
        return match[1]
    return path.parent.parent.name if path.parent.name == "trainingPhrases" else path.stem


def _has_phrases(path: Path) -> bool:
    """Return whether a file in a folder or in a zip file is named as one that has phrases."""
    is_named = path.parent.name == "trainingPhrases" or _USER_SAYS.match(path.stem)
    return bool(is_named) and path.suffix.lower() == ".json" and not path.name.startswith(".")


def _find_files(folder: Path) -> Iterator[Path]:
    """Yield the files with phrases in `folder`, or in the folder `intents` in it, in order."""
    for pattern in ("*.json", "intents/*.json", "*/trainingPhrases/*.json"):
        yield from filter(_has_phrases, sorted(folder.glob(pattern)))
    yield from filter(_has_phrases, sorted(folder.glob("intents/*/trainingPhrases/*.json")))


def _read_files(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each file with phrases that `path` is or has."""
    if path.suffix.lower() == ".zip" and path.is_file():
        yield from _read_zip(path)
        return
    for file in _find_files(path) if path.is_dir() else (path,):
        yield file, "\n".join(line for _, line in read_lines(file))


def _read_zip(path: Path) -> Iterator[tuple[Path, str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if _has_phrases(Path(each.filename))]
            if not members:
                raise DataError(
                    f"{path}: no phrases of Dialogflow in it, such as x_usersays_en.json"
                )
            if sum(each.file_size for each in members) > _MAX_BYTES:
                raise DataError(f"{path}: its phrases have more than 1 GiB; unpack it first")
            for member in sorted(members, key=lambda each: each.filename):
                # A member ends at the size that it declares, whatever it contains.
                content = BytesIO(archive.read(member))
                file = path / member.filename
                yield file, "\n".join(line for _, line in decode_lines(content, str(file)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: not a zip file that can be read: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
