"""Resolution: what the value of a slot stands for, such as `Taipei` for `TPE`, or a date.

Dates and times are read by dateparser, numbers in words by text2num, both in one language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from slotfill.data.phrases import lookup_form
from slotfill.data.sentence import Sentence, Slot
from slotfill.errors import UsageError

ValueKind = Literal["date", "time", "datetime", "number"]

_DAYS = ("day", "part_of_day", "time")
"""The precisions of dateparser that determine a day; others are a week, a month or a year."""


class Resolver:
    """Resolves the values of slots: by synonyms, else by the kind of the slot.

    The result is text: a synonym's, a date as `2026-12-24`, a time as `19:30`, or a number.
    """

    def __init__(
        self,
        synonyms: Mapping[str, Mapping[str, str]],
        kinds: Mapping[str, ValueKind],
        language: str,
        now: datetime,
    ) -> None:
        """Take the synonyms of each slot, lookup forms, and the kind of each slot.

        Dates such as `tomorrow` are relative to `now`, and those without a year are after it.
        Raises UsageError if a library is missing.
        """
        self._synonyms = synonyms
        self._kinds = kinds
        readers = dict[str, Any]()
        if "number" in kinds.values():
            readers["number"] = _NumberReader(language)
        for kind in {*kinds.values()} - {"number"}:
            readers[kind] = _DateReader(kind, language, now)
        self._readers = {kind: lru_cache(4096)(reader.read) for kind, reader in readers.items()}

    def check_language(self) -> None:
        """Raise ValueError if the language is not one of the libraries."""
        for read in self._readers.values():
            read("-")

    def resolve(self, sentence: Sentence) -> list[str | None]:
        """Return what each slot of `sentence` stands for, or None where that is not known."""
        return [self._resolve(sentence, slot) for slot in sentence.slots or ()]

    def _resolve(self, sentence: Sentence, slot: Slot) -> str | None:
        if synonyms := self._synonyms.get(slot.name):
            form = " ".join(map(lookup_form, sentence.tokens[slot.start : slot.end]))
            if form in synonyms:
                return synonyms[form]
        kind = self._kinds.get(slot.name)
        return self._readers[kind](sentence.value(slot)) if kind else None


class _DateReader:
    """Reads dates and times."""

    def __init__(self, kind: str, language: str, now: datetime) -> None:
        try:
            from dateparser.date import DateDataParser
        except ImportError:
            raise _missing("dateparser") from None
        settings = {
            "RELATIVE_BASE": now,
            "PREFER_DATES_FROM": "future",
            "RETURN_TIME_AS_PERIOD": True,
            "RETURN_AS_TIMEZONE_AWARE": False,
        }
        self._kind = kind
        self._parser = DateDataParser(languages=[language], settings=settings)
        self._lock = Lock()  # dateparser does not say whether threads may share a parser.

    def read(self, value: str) -> str | None:
        with self._lock:
            found = self._parser.get_date_data(value)
        moment, precision = found.date_obj, found.period
        if moment is None or precision not in _DAYS:
            return None
        if self._kind == "date" or (self._kind == "datetime" and precision != "time"):
            return str(moment.date().isoformat())
        if precision != "time":
            return None
        result = moment.time() if self._kind == "time" else moment
        return str(result.isoformat(timespec="minutes"))


class _NumberReader:
    """Reads numbers in digits and in words."""

    def __init__(self, language: str) -> None:
        try:
            from text_to_num import text2num
        except ImportError:
            raise _missing("text2num") from None
        self._language = language
        self._parse = text2num

    def read(self, value: str) -> str | None:
        digits = value.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", value) else value
        if re.fullmatch(r"\d+(\.\d+)?", digits):
            return digits
        try:
            return str(self._parse(value.lower(), self._language))
        except ValueError as error:
            if "language" in str(error):
                raise
            return None


def _missing(library: str) -> UsageError:
    return UsageError(f"resolve needs {library}: pip install 'slotfill[values]'")
