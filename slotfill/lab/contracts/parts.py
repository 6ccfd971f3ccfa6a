"""Contracts of all kinds of parts: their options and their documentation."""

from __future__ import annotations

from slotfill.config.registry import (
    REGISTRIES,
    PartSource,
)
from slotfill.errors import ConfigError
from slotfill.lab.contracts.requirements import (
    ContractError,
    WrongResultError,
    require,
)
from slotfill.model.cells.base import Cell
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.generators.base import Generator
from slotfill.model.intents.base import IntentHead
from slotfill.model.taggers.base import Tagger

BASES: dict[str, tuple[type, str]] = {
    "cell": (Cell, "encoder.cell"),
    "encoder": (Encoder, "encoder"),
    "tagger": (Tagger, "tagger"),
    "embedding": (Embedding, "embedding"),
    "intent": (IntentHead, "intent"),
    "generator": (Generator, "generator"),
}
"""The base class of each kind, and its key in a config."""


def find_kind(source: PartSource) -> str:
    """Return the kind of a part by its class, or nothing."""
    loaded = source.load()
    return next((kind for kind, (base, _) in BASES.items() if issubclass(loaded, base)), "")


def part_has_keyword_only_options(source: PartSource) -> None:
    """Its positional arguments are those that slotfill passes; YAML can set no others."""
    arguments = REGISTRIES[find_kind(source)].arguments
    if getattr(source.load(), "takes_lower_memory", False):
        arguments += ("has_lower_layer",)
    try:
        source.check_arguments(arguments)
    except ConfigError as error:
        raise WrongResultError(str(error)) from None
    for option in source.positional[len(arguments) :]:
        taken = ", ".join(("self", *arguments, "*", option))
        raise ContractError(f"the option '{option}' must be keyword-only, as __init__({taken})")


def part_is_documented(source: PartSource) -> None:
    """It has a summary, and each option its meaning."""
    require(
        source.summary.endswith(".") and source.summary[:1].isupper(),
        "the file's docstring must begin with a sentence, from a capital letter to a full stop",
    )
    lines = [line.strip() for line in (source.load().__doc__ or "").splitlines()]
    require(lines and lines[0].endswith("."), "the class's docstring must begin with a sentence")
    for option in source.options:
        documented = any(line.startswith(f"{option}: ") for line in lines)
        require(documented, f"the class's docstring has no line '{option}: ...'")
