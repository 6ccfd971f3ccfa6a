"""Calibration of a run: the temperatures and the thresholds of its confidences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from numbers import Real
from typing import Any

from slotfill.files import parse_json


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores become probabilities, and how sure a prediction must be.

    A temperature T divides the scores: above 1 it makes confidences less extreme.
    """

    slot_temperature: float = 1.0
    intent_temperature: float = 1.0
    threshold: float = 0.0
    """The confidence below which slots are left out."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """The same for the slots of a name, instead of `threshold`."""
    intent_threshold: float = 0.0
    """The confidence below which the intent is left out."""

    def __post_init__(self) -> None:
        """Raises ValueError if a value is out of its range."""
        for name in ("slot_temperature", "intent_temperature"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} must be more than 0, found {value}")
        thresholds = {"threshold": self.threshold, "intent_threshold": self.intent_threshold}
        thresholds |= {f"thresholds.{name}": value for name, value in self.thresholds.items()}
        for name, value in thresholds.items():
            if not isinstance(value, Real) or not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number from 0 to 1, found {value!r}")

    @property
    def has_temperatures(self) -> bool:
        """Whether a temperature is not 1."""
        return (self.slot_temperature, self.intent_temperature) != (1, 1)

    @property
    def has_thresholds(self) -> bool:
        """Whether any prediction can be left out."""
        return any((self.threshold, self.intent_threshold, *self.thresholds.values()))

    def slot_threshold(self, name: str) -> float:
        """Return the threshold of the slots called `name`."""
        return self.thresholds.get(name, self.threshold)

    def with_thresholds(
        self,
        threshold: float | None = None,
        thresholds: Mapping[str, float] | Iterable[tuple[str, float]] | None = None,
        intent_threshold: float | None = None,
    ) -> Calibration:
        """Return this with the thresholds that are given; `threshold` replaces all of slots.

        Raises ValueError if one is not a number from 0 to 1.
        """
        try:
            by_slot = {} if thresholds is None else dict(thresholds)
        except (TypeError, ValueError):
            raise ValueError(
                f"thresholds must be numbers by slot, as {{'city': 0.7}}, found {thresholds!r}"
            ) from None
        kept = self.thresholds if threshold is None else {}
        return replace(
            self,
            threshold=self.threshold if threshold is None else threshold,
            thresholds={**kept, **by_slot},
            intent_threshold=self.intent_threshold
            if intent_threshold is None
            else intent_threshold,
        )

    def to_json(self) -> str:
        """Return the content of `calibration.json`."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, content: bytes) -> Calibration:
        """Return what `to_json` gave; raises ValueError where it is not valid."""
        values: dict[str, Any] = parse_json(content, _SHAPE)
        return cls(**{name: values[name] for name in _SHAPE})


UNCALIBRATED = Calibration()
"""No temperature and no threshold."""

_SHAPE = {
    "slot_temperature": float,
    "intent_temperature": float,
    "threshold": float,
    "thresholds": {str: float},
    "intent_threshold": float,
}
