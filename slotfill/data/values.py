"""Known values: what a run knows of the values of slots beside its network, in `values.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotfill.data.phrases import read_phrases
from slotfill.data.rules import Rules
from slotfill.data.tokenizers import Tokenizer
from slotfill.files import parse_json

if TYPE_CHECKING:
    from slotfill.config.models import Config

_SHAPE = {"rules": [{"slot": str, "action": str, "pattern": (None, str), "phrases": (None, [str])}]}


class KnownValues:
    """The rules of a run. They need no training, so they can be replaced."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        """Take what `values.json` has; nothing is known without it."""
        self._settings = dict(settings or {"rules": []})
        self.rules = Rules(self._settings["rules"])

    def __bool__(self) -> bool:
        return bool(self.rules)

    @classmethod
    def read(cls, config: Config, tokenizer: Tokenizer) -> KnownValues:
        """Return the known values of a config; raises DataError if one of its files is not read."""
        rules = [rule.model_dump(exclude_none=True) for rule in config.rules]
        for rule in rules:
            if path := rule.pop("list", None):
                rule["phrases"] = read_phrases(Path(path), tokenizer)
        return cls({"rules": rules})

    def to_json(self) -> str:
        """Return the content of `values.json`."""
        return json.dumps(self._settings, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, content: bytes) -> KnownValues:
        """Return what `to_json` gave; raises ValueError where it is not valid."""
        settings = parse_json(content, _SHAPE)
        try:
            return cls(settings)
        except (LookupError, re.error) as error:
            raise ValueError(f"rules: {error}") from None
