"""A part in a config: its name and its options, checked against the part's file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
)
from pydantic_core import InitErrorDetails

from slotfill.config.messages import KeyPath, describe_errors, format_value
from slotfill.config.option_types import MAX_DEPTH
from slotfill.config.paths import PathContext, config_error, resolve
from slotfill.config.registry import REGISTRIES, REQUIRED, PartSource
from slotfill.errors import ConfigError, did_you_mean


class StrictModel(BaseModel):
    """Keys and values: no unknown key, and each value of exactly the declared type."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True, eq=False)
class PartConfig(Mapping[str, Any]):
    """A checked part with all its options, which reads like its mapping in YAML."""

    name: str
    options: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.name if key == "name" else self.options[key]

    def __iter__(self) -> Iterator[str]:
        yield "name"
        yield from self.options

    def __len__(self) -> int:
        return 1 + len(self.options)


def part_validator(
    kind: str, default: str | None = None, keep: str | None = None
) -> PlainValidator:
    """Return the validator of a part, or of the word `keep`.

    `default` is the name of the part if only options are given.
    """
    return PlainValidator(
        lambda value, info: value if value == keep else _check_part(value, info, kind, default)
    )


def parts_validator(kind: str, default: str | None = None) -> PlainValidator:
    """Return the validator of one part, with `default` as its name, or of a list of parts."""
    return PlainValidator(lambda value, info: _check_parts(value, info, kind, default))


def to_plain(value: Any) -> Any:
    """Return `value` with every part in it as a plain dictionary."""
    if isinstance(value, PartConfig):
        return {key: to_plain(option) for key, option in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list) else value


serialize_parts = PlainSerializer(to_plain)


@cache
def options_model(part: PartSource) -> type[BaseModel]:
    """Return the pydantic model of a part's options, read from its file."""
    fields: dict[str, Any] = {"name": (str, ...)}
    for option in part.options.values():
        default = ... if option.default is REQUIRED else option.default
        if option.part_kind is None:
            fields[option.name] = (option.type, default)
        else:
            name = default if isinstance(default, str) else None
            validator = part_validator(option.part_kind, name)
            field = Field(default, validate_default=True)
            fields[option.name] = (Annotated[Any, validator], field)
    return create_model(part.class_node.name, __base__=StrictModel, **fields)


def _check_part(value: Any, info: ValidationInfo, kind: str, default: str | None) -> PartConfig:
    registry = REGISTRIES[kind]
    allowed = did_you_mean("", registry.names())
    options = {"name": value} if isinstance(value, str) else value
    if isinstance(options, Mapping) and "name" not in options:
        if default is None:
            raise combine_errors([(("name",), f"is needed and not given{allowed}")])
        options = {"name": default, **options}
    if not isinstance(options, Mapping) or not isinstance(options["name"], str):
        raise config_error(f"must be the name of one {kind}{allowed}, found {format_value(value)}")
    name = options["name"]
    try:
        if name.endswith(".py"):
            name = resolve(name, info.context or PathContext())
        model = options_model(registry.part(name))
    except ConfigError as error:
        key = ("name",) if isinstance(value, Mapping) else ()
        raise combine_errors([(key, str(error))]) from None
    options = {**options, "name": name}
    try:
        checked = dict(model.model_validate(options, context=info.context))
    except ValidationError as error:
        raise combine_errors(describe_errors(error, model, options, f"{kind}.")) from None
    return PartConfig(checked.pop("name"), checked)


def _check_parts(
    value: Any, info: ValidationInfo, kind: str, default: str | None
) -> PartConfig | list[PartConfig]:
    if not isinstance(value, list):
        return _check_part(value, info, kind, default)
    if not value:
        raise config_error(f"at least one {kind} is needed")
    if len(value) > MAX_DEPTH:
        raise config_error(f"at most {MAX_DEPTH} {kind}s are allowed, found {len(value)}")
    items = TypeAdapter(list[Annotated[Any, part_validator(kind)]])
    return items.validate_python(value, context=info.context)


def combine_errors(errors: Iterable[tuple[KeyPath, str]]) -> ValidationError:
    """Return the exception that a validator raises for errors at several keys."""
    return ValidationError.from_exception_data(
        "config",
        [
            InitErrorDetails(type=config_error(message), loc=key, input=None)
            for key, message in errors
        ],
    )
