"""Faults: what pydantic finds wrong in the data of a config, and where, in the words of this
project.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from slotfill.config.yaml_reader import Path as KeyPath
from slotfill.errors import did_you_mean


def place_of(location: tuple[str | int, ...], data: Any) -> KeyPath | None:
    """Return where in `data` a fault is, or None if it is of another type than the value was meant
    to be.

    Where several types are allowed, pydantic names the one it tried within the location, such as
    `list[str]`.
    """
    for depth, step in enumerate(location):
        if isinstance(step, str) and "[" in step:
            if step.startswith("list[") != isinstance(data, list):
                return None
            return (*location[:depth], *location[depth + 1 :])
        try:
            data = data[step]
        except (LookupError, TypeError):
            data = None
    return location


def fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys allowed beside the last of `location`."""
    for step in location[:-1]:
        annotation = (
            model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
        )
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def message_of(fault: Any, fields: list[str]) -> str:
    """Say in one line what pydantic found."""
    kind, found, context = fault["type"], shown(fault["input"]), fault.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(str(fault["loc"][-1]), fields)
    if kind == "missing":
        return "is needed and not given"
    if kind == "literal_error":
        allowed = [
            word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")
        ]
        return f"unknown value {found}{did_you_mean(str(fault['input']), allowed)}"
    expected: Callable[[], str] = {
        "int_type": lambda: "must be a whole number",
        "int_from_float": lambda: "must be a whole number",
        "float_type": lambda: "must be a number",
        "bool_type": lambda: "must be true or false",
        "string_type": lambda: "must be text",
        "list_type": lambda: "must be a list",
        "model_type": lambda: "must be keys and values",
        "dict_type": lambda: "must be keys and values",
        "greater_than": lambda: f"must be more than {context['gt']:g}",
        "greater_than_equal": lambda: f"must be at least {context['ge']:g}",
        "less_than": lambda: f"must be less than {context['lt']:g}",
        "less_than_equal": lambda: f"must be at most {context['le']:.15g}",
        "finite_number": lambda: "must be a finite number",
    }.get(kind, lambda: str(fault["msg"]).lower())
    return f"{expected()}, found {found}"


def shown(value: Any) -> str:
    """A value as a message shows it: as YAML writes it, in one line, not too long."""
    if isinstance(value, dict | BaseModel):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if not isinstance(value, str):
        return str(value).lower()
    value = " ".join(value.split())
    return f"'{value if len(value) <= 60 else value[:57] + '...'}'"
