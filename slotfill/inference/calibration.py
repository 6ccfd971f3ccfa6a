"""Calibration of a run: the temperatures and the thresholds of its confidences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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

    def to_json(self) -> str:
        """Return the content of `calibration.json`."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, content: bytes) -> Calibration:
        """Return what `to_json` gave; raises ValueError where it is not valid."""
        values: dict[str, Any] = parse_json(content, _SHAPE)
        for name in ("slot_temperature", "intent_temperature"):
            if not 0 < values[name] < math.inf:
                raise ValueError(f"{name} must be more than 0, found {values[name]}")
        thresholds = {f"thresholds.{name}": each for name, each in values["thresholds"].items()}
        for name in ("threshold", "intent_threshold"):
            thresholds[name] = values[name]
        for name, each in thresholds.items():
            if not 0 <= each <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {each}")
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
