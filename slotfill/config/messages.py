"""Messages: the errors that pydantic finds in a config, in the words of this project, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from slotfill.config.hints import find_section_keys, usual_name
from slotfill.errors import ErrorDetail, did_you_mean

KeyPath = tuple[str | int, ...]
"""The keys and list indices that lead to a value."""

RENAMED_KEYS = {
    "members": "ensemble_size",
    "train.average": "train.ema_decay",
    "train.language_model": "train.language_model_weight",
    "train.threads": "train.processes",
    "train.warmup": "train.warmup_epochs",
    "embedding.longest": "max_length",
    "embedding.most": "max_words",
    "embedding.shortest": "min_length",
    "embedding.tune": "trainable",
}
"""The new names of renamed keys, and of renamed options as `kind.option`."""


_OTHER_PLACES = dict.fromkeys(
    ("gazetteer", "gazetteers"),
    "lists of values are features of an embedding, as {name: gazetteer, lists: [cities.txt]}, see"
    " slotfill show gazetteer",
)
"""What to write instead of top-level keys that one may expect."""

_EXPECTED = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "model_type": "must be keys and values",
    "model_attributes_type": "must be keys and values",
    "dict_type": "must be keys and values",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:.15g}",
    "finite_number": "must be a finite number",
}


_MAX_HINTS = 100
"""Finding the nearest names takes a part of a millisecond, and few errors are shown."""


def join_key(path: KeyPath) -> str:
    """Return a key as it is written on the command line: `encoder.cell.name`."""
    return ".".join(map(str, path))


def describe_errors(
    error: ValidationError, model: type[BaseModel], data: Any, section: str = ""
) -> Iterator[tuple[KeyPath, str]]:
    """Yield the path in `data` and the message of each error; `section` is the kind of a part.

    Of many unknown keys, the nearest names are those of the first ones only.
    """
    for number, detail in enumerate(error.errors()):
        location = detail["loc"]
        if detail["type"] == "config":
            yield location, detail["msg"]
        elif (path := _path_in_data(location, data)) is not None:
            if new := RENAMED_KEYS.get(section + join_key(path)):
                message = f"is now called {new}"
            elif detail["type"] == "extra_forbidden" and number >= _MAX_HINTS:
                message = "unknown key"
            elif detail["type"] == "extra_forbidden":
                message = _describe_unknown_key(path, model, section)
            else:
                message = describe_value(detail)
            if detail["type"] == "literal_error" and path[-1:] != location[-1:]:
                # One of the types of a union, the other being a list.
                message = message.removesuffix(")") + ", or a list)"
            yield path, message


def _path_in_data(location: KeyPath, data: Any) -> KeyPath | None:
    """Return `location` without the types of unions; None if the value is meant to be of another.

    Where several types are allowed, pydantic names the one it tried within the location, such as
    `list[str]`.
    """
    for depth, step in enumerate(location):
        if isinstance(step, str) and "[" in step and not isinstance(data, dict):
            if step.startswith("list[") != isinstance(data, list):
                return None
            return (*location[:depth], *location[depth + 1 :])
        try:
            data = data[step]
        except (LookupError, TypeError):
            data = None
    return location


def _describe_unknown_key(path: KeyPath, model: Any, section: str) -> str:
    """Return the message for a key at `path` that `model`, or the model in it, does not have."""
    for step in path[:-1]:
        if isinstance(step, str):
            annotation = model.model_fields[step].annotation
            # Of `list[Model]` and `Model | None`, the model.
            models = (each for each in get_args(annotation) if hasattr(each, "model_fields"))
            model = next(models, annotation)
    key, allowed = str(path[-1]), list(model.model_fields)
    if not path[:-1] and key in _OTHER_PLACES:
        return f"unknown key; {_OTHER_PLACES[key]}"
    if sections := find_section_keys(key, section, allowed):
        hint = " or ".join(f"'{section}'" for section in sections[:3])
        return f"unknown key; did you mean {hint}?{did_you_mean('', allowed)}"
    return "unknown key" + did_you_mean(usual_name(key), allowed)


def describe_value(error: Any) -> str:
    """Return the message for one error of pydantic that is no unknown key."""
    kind, value, context = error["type"], format_value(error["input"]), error.get("ctx", {})
    if kind == "missing":
        return "is needed and not given"
    if kind == "literal_error":
        words = context["expected"].replace(" or ", ", ").split(", ")
        allowed = [word.strip("'") if word.startswith("'") else word.lower() for word in words]
        return f"unknown value {value}{did_you_mean(str(error['input']), allowed)}"
    if kind == "float_type" and str(error["input"]).lower().lstrip("+-") in ("nan", "inf"):
        kind = "finite_number"
    template = _EXPECTED.get(kind, str(error["msg"]).lower())
    return f"{template.format(**context)}, found {value}"


def format_value(value: Any) -> str:
    """Return a value as YAML writes it, in one short line."""
    if isinstance(value, Mapping | BaseModel):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = " ".join(value.split()) if isinstance(value, str) else str(value).lower()
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"'{text}'" if isinstance(value, str) else text


@dataclass(frozen=True)
class Locations:
    """The line of each key in the file `name`, and the keys that overrides set.

    All locations are equal, so that configs are compared by their values alone.
    """

    name: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    overridden: Set[str] = field(default=frozenset(), compare=False)

    def sort(self, errors: Iterable[ErrorDetail]) -> list[ErrorDetail]:
        """Return each error once and with its source, those on the command line last."""
        places = {error: self._find(error) for error in errors}
        return [
            replace(error, source=places[error][1])
            for error in sorted(places, key=places.__getitem__)
        ]

    def _find(self, error: ErrorDetail) -> tuple[float, str]:
        """Return the line and the source of the key that has the error, or of the nearest above.

        The command line is after all lines.
        """
        key = error.key
        while key and key not in self.lines and not self._is_overridden(key):
            key = key.rpartition(".")[0]
        if error.source or (key not in self.lines and self._is_overridden(key)):
            return inf, error.source or "command line"
        line = self.lines.get(key, 1)
        return line, f"{self.name}:{line}" if error.key else self.name

    def _is_overridden(self, key: str) -> bool:
        """Whether an override set the key, or one below it."""
        return any(is_within(override, key) for override in self.overridden)


def is_within(key: str, section: str) -> bool:
    """Whether `key` is `section` or below it."""
    return f"{key}.".startswith(f"{section}.") or not section
