"""Resolution: what the value of a slot stands for, such as `Taipei` for `TPE`, or a date.

Dates and times are read by dateparser, numbers in words by text2num, both in one language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from slotfill.data.digits import number_to_digits, time_to_digits
from slotfill.data.phrases import lookup_form
from slotfill.data.sentence import Sentence, Slot
from slotfill.extras import required_for

ValueKind = Literal["date", "time", "datetime", "number"]
DateOrder = Literal["DMY", "MDY"]

_DAYS = ("day", "part_of_day", "time")
"""The precisions of dateparser that determine a day; others are a week, a month or a year."""

_DAY_AND_MONTH = re.compile(r"(\d{1,2})[./-](\d{1,2})\.?")


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
        date_order: DateOrder | None = None,
    ) -> None:
        """Take the synonyms of each slot, lookup forms, and the kind of each slot.

        Dates such as `tomorrow` are relative to `now`, and those without a year are after it. The
        order of day and month is that of the language by default.
        Raises UsageError if a library is missing.
        """
        self._synonyms = synonyms
        self._kinds = kinds
        readers = dict[str, Any]()
        if "number" in kinds.values():
            readers["number"] = _NumberReader(language)
        for kind in {*kinds.values()} - {"number"}:
            readers[kind] = _DateReader(kind, language, date_order, now)
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

    def __init__(
        self, kind: str, language: str, date_order: DateOrder | None, now: datetime
    ) -> None:
        with required_for("resolve"):
            from dateparser.date import DateDataParser
            from dateparser.languages.loader import default_loader
        _import_text2num()
        self._parser = DateDataParser(languages=[language])  # Checks the language.
        locale = default_loader.get_locale(language).info
        self._day_first = (date_order or locale.get("date_order")) == "DMY"
        settings = {
            "RELATIVE_BASE": now,
            "PREFER_DATES_FROM": "future",
            "RETURN_TIME_AS_PERIOD": True,
            "RETURN_AS_TIMEZONE_AWARE": False,
            "DATE_ORDER": "DMY" if self._day_first else "MDY",
        }
        self._parser = DateDataParser(languages=[language], settings=settings)
        self._weeks: list[str] = []
        for meaning, phrases in locale.get("relative-type", {}).items():
            if "week" in meaning:
                self._weeks += phrases
        self._kind, self._language, self._now = kind, language, now
        self._lock = Lock()  # dateparser does not say whether threads may share a parser.

    def read(self, value: str) -> str | None:
        return self._read(value) or self._read(time_to_digits(value, self._language))

    def _read(self, value: str) -> str | None:
        if self._kind != "time" and (match := _DAY_AND_MONTH.fullmatch(value)):
            return self._next_day(int(match[1]), int(match[2]))
        with self._lock:
            found = self._parser.get_date_data(value)
        moment, precision = found.date_obj, found.period
        if precision == "week" and not any(week in value.lower() for week in self._weeks):
            precision = "day"  # In two weeks, other than next week.
        if moment is None or precision not in _DAYS:
            return None
        if self._kind == "date" or (self._kind == "datetime" and precision != "time"):
            return str(moment.date().isoformat())
        if precision != "time":
            return None
        result = moment.time() if self._kind == "time" else moment
        return str(result.isoformat(timespec="minutes"))

    def _next_day(self, first: int, second: int) -> str | None:
        """Return the next day of a day and a month, in the usual order or else the only one."""
        days_and_months = [(first, second), (second, first)]
        for day, month in days_and_months if self._day_first else days_and_months[::-1]:
            for year in range(self._now.year, self._now.year + 9):  # Leap years may be 8 apart.
                with suppress(ValueError):
                    if (found := date(year, month, day)) >= self._now.date():
                        return found.isoformat()
        return None


class _NumberReader:
    """Reads numbers in digits and in words."""

    def __init__(self, language: str) -> None:
        _import_text2num()
        self._language = language

    def read(self, value: str) -> str | None:
        if re.fullmatch(r"\d{1,3}(,\d{3})+", value):
            return value.replace(",", "")
        found = re.fullmatch(r"(?:a )?(\d+(?:[.,]\d+)?)", number_to_digits(value, self._language))
        return found[1].replace(",", ".") if found else None


def _import_text2num() -> None:
    with required_for("resolve"):
        import text_to_num  # noqa: F401
