"""Known values: what a run knows of the values of slots beside its network, in `values.json`."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from slotfill.data.phrases import phrase_form, read_phrases
from slotfill.data.resolution import DateOrder, Resolver, ValueKind
from slotfill.data.rules import Rules
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import ConfigError, DataError
from slotfill.files import parse_json, read_lines

if TYPE_CHECKING:
    from slotfill.config.models import Config

_NOTHING = {"rules": [], "synonyms": {}, "resolve": {"slots": {}, "language": "en"}}
_SHAPE = {
    "rules": [{"slot": str, "action": str, "pattern": (None, str), "phrases": (None, [str])}],
    "synonyms": {str: {str: str}},
    "resolve": {"slots": {str: str}, "language": str, "date_order": (None, str)},
}


class KnownValues:
    """The rules of a run, and what it resolves values by; none of it is trained."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        """Take what `values.json` has; nothing is known of what is not in it."""
        self._settings: dict[str, Any] = _NOTHING | dict(settings or {})
        self.rules = Rules(self._settings["rules"])

    def __bool__(self) -> bool:
        return bool(self.rules) or self.can_resolve

    @property
    def can_resolve(self) -> bool:
        """Whether the values of any slot are resolved."""
        return bool(self._settings["synonyms"] or self._settings["resolve"]["slots"])

    def resolver(self, now: datetime) -> Resolver:
        """Return what resolves values, with dates relative to `now`.

        Raises UsageError if a library is missing, and ValueError if it has no such language.
        """
        resolve = self._settings["resolve"]
        slots, language, order = resolve["slots"], resolve["language"], resolve.get("date_order")
        try:
            resolver = Resolver(self._settings["synonyms"], slots, language, now, order)
            resolver.check_language()
        except ValueError:
            problem = f"cannot resolve dates or numbers of the language '{language}'"
            raise ValueError(problem) from None
        return resolver

    @classmethod
    def read(cls, config: Config, tokenizer: Tokenizer) -> KnownValues:
        """Return the known values of a config.

        Raises:
            DataError: A list or a file of synonyms cannot be read.
            ConfigError: Synonyms are ambiguous, or the language is unknown.
            UsageError: A library that resolves values is missing.
        """
        rules = [rule.model_dump(exclude_none=True) for rule in config.rules]
        for rule in rules:
            if path := rule.pop("list", None):
                rule["phrases"] = read_phrases(Path(path), tokenizer)
        synonyms = {
            slot: _read_synonyms(slot, source, tokenizer)
            for slot, source in config.synonyms.items()
        }
        resolve = config.resolve.model_dump()
        values = cls({"rules": rules, "synonyms": synonyms, "resolve": resolve})
        try:
            values.resolver(datetime.now())
        except ValueError as error:
            raise ConfigError(str(error), key="resolve.language") from None
        return values

    def to_json(self) -> str:
        """Return the content of `values.json`."""
        return json.dumps(self._settings, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, content: bytes) -> KnownValues:
        """Return what `to_json` gave; raises ValueError where it is not valid."""
        settings = parse_json(content, _SHAPE)
        resolve = settings["resolve"]
        for key, found, allowed in (
            *(("slots", kind, get_args(ValueKind)) for kind in resolve["slots"].values()),
            ("date_order", resolve.get("date_order"), (None, *get_args(DateOrder))),
        ):
            if found not in allowed:
                raise ValueError(f"resolve.{key}: unknown value {found!r}")
        try:
            return cls(settings)
        except (RecursionError, OverflowError):
            raise ValueError("rules: a regular expression is too complex") from None
        except (LookupError, re.error) as error:
            raise ValueError(f"rules: {error}") from None


def _read_synonyms(
    slot: str, source: str | Mapping[str, Iterable[str]], tokenizer: Tokenizer
) -> dict[str, str]:
    """Return what each value of a slot stands for, by its form; `source` is a file or its rows."""
    if isinstance(source, str):
        rows = _read_rows(source)
    else:
        rows = [("", [value, *others]) for value, others in source.items()]
    meanings: dict[str, str] = {}
    for location, cells in rows:
        value, *others = map(str.strip, cells)
        problem = "" if value else "the value is empty, which the synonyms stand for"
        for text in (value, *others):
            if text:
                meaning = meanings.setdefault(phrase_form(text, tokenizer), value)
                if meaning != value:
                    problem = problem or f"'{text}' stands for both '{meaning}' and '{value}'"
            elif not location:  # A spreadsheet fills its rows with empty cells.
                problem = problem or f"a synonym of '{value}' is empty"
        if problem and location:
            raise DataError(f"{location}: {problem}")
        if problem:
            raise ConfigError(problem, key=f"synonyms.{slot}")
    return meanings


def _read_rows(path: str) -> list[tuple[str, list[str]]]:
    """Return the rows of a file of synonyms that are not empty, each with its location."""
    rows, is_quoted = [], False
    for number, line in read_lines(Path(path)):
        is_quoted = is_quoted or '"' in line
        location = f"{path}:{number}"
        if any(map(str.strip, cells := _parse_row(line, location))):
            rows.append((location, cells))
    if not rows:
        raise DataError(f"{path}: the file has no values; write one a line, as Taipei,TPE")
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        separated = [location for location, cells in rows if separator in cells[0]]
        if separated and not is_quoted and all(len(cells) == 1 for _, cells in rows):
            raise DataError(f"{separated[0]}: separated by {name}; write commas, as Taipei,TPE")
    return rows


def _parse_row(line: str, location: str) -> list[str]:
    """Return the cells of a line of CSV; raises DataError if it has a quote that is not closed."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        hint = "" if "field limit" in str(error) else '; a quote in quotes is ""'
        raise DataError(f"{location}: not a line of CSV: {error}{hint}") from None
