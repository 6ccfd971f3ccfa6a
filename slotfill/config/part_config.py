"""A part in a config: its name and its options, checked against the part's file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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
    field_validator,
)
from pydantic_core import InitErrorDetails

from slotfill.config.messages import KeyPath, describe_errors, format_value
from slotfill.config.option_types import (
    MAX_DEPTH,
    PathContext,
    check_float32,
    config_error,
    file_name,
    resolve,
)
from slotfill.config.registry import REGISTRIES, REQUIRED, PartSource
from slotfill.errors import ConfigError, did_you_mean


@dataclass(frozen=True, eq=False)
class PartConfig(Mapping[str, Any]):
    """A checked part with all its options, which reads like its mapping in YAML."""

    name: str
    options: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.name if key == "name" else self.options[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("name", *self.options))

    def __len__(self) -> int:
        return 1 + len(self.options)


def to_plain(value: Any) -> Any:
    """Return `value` with every part in it as a plain dictionary."""
    if isinstance(value, PartConfig):
        return {key: to_plain(option) for key, option in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list) else value


Part = Annotated[PartConfig, PlainSerializer(to_plain)]
"""A part as a field of a config."""


class StrictModel(BaseModel):
    """Keys and values: no unknown key, and each value of exactly the declared type."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*")
    @classmethod
    def _fits_float32(cls, value: Any) -> Any:
        check_float32(value)
        return value


def part_validator(
    kind: str, default: str | None = None, *, keep: str | None = None, stackable: bool = False
) -> PlainValidator:
    """Return the validator of a part, of a list of parts if `stackable`, or of the word `keep`.

    `default` is the name of the part if only options are given.
    """

    def check(value: Any, info: ValidationInfo) -> Any:
        if keep is not None and value == keep:
            return value
        if stackable and isinstance(value, list):
            return _check_list(value, info, kind)
        return _check_part(value, info, kind, default)

    return PlainValidator(check)


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
            shape = Annotated[Any, part_validator(option.part_kind, name)]
            fields[option.name] = (shape, Field(default, validate_default=True))
    return create_model(part.class_node.name, __base__=StrictModel, **fields)


_MAX_DEPTH = 10
_depth: ContextVar[int] = ContextVar("depth", default=0)
"""How many parts are being checked, each an option of the one before."""


def _check_part(value: Any, info: ValidationInfo, kind: str, default: str | None) -> PartConfig:
    registry = REGISTRIES[kind]
    options = {"name": value} if isinstance(value, str) else value
    if isinstance(options, Mapping) and "name" not in options:
        if default is None:
            allowed = did_you_mean("", registry.names())
            raise combine_errors([(("name",), f"is needed and not given{allowed}")])
        options = {"name": default, **options}
    if not isinstance(options, Mapping) or not isinstance(options["name"], str):
        allowed = did_you_mean("", registry.names())
        raise config_error(f"must be the name of one {kind}{allowed}, found {format_value(value)}")
    name = options["name"]
    if name.endswith(".py") and info.context and info.context.is_packed:
        # Its network is exported, and the file may be on another machine.
        return PartConfig(
            file_name(name),
            {
                key: file_name(option) if Path(str(option)).is_absolute() else option
                for key, option in options.items()
                if key != "name"
            },
        )
    try:
        if name.endswith(".py"):
            name = resolve(name, info.context or PathContext())
        model = options_model(registry.part(name))
    except ConfigError as error:
        key = ("name",) if isinstance(value, Mapping) else ()
        raise combine_errors([(key, str(error))]) from None
    options = {**options, "name": name}
    depth = _depth.get()
    if depth == _MAX_DEPTH:  # The default of an option may be the file that has it.
        raise config_error(f"parts are nested more than {_MAX_DEPTH} deep")
    token = _depth.set(depth + 1)
    try:
        checked = dict(model.model_validate(options, context=info.context))
    except ValidationError as error:
        raise combine_errors(describe_errors(error, model, options, f"{kind}.")) from None
    finally:
        _depth.reset(token)
    return PartConfig(checked.pop("name"), checked)


def _check_list(value: list[Any], info: ValidationInfo, kind: str) -> list[PartConfig]:
    if not value:
        raise config_error(f"at least one {kind} is needed")
    if len(value) > MAX_DEPTH:
        raise config_error(f"at most {MAX_DEPTH} {kind}s are allowed, found {len(value)}")
    return _list_adapter(kind).validate_python(value, context=info.context)


@cache
def _list_adapter(kind: str) -> TypeAdapter[list[PartConfig]]:
    return TypeAdapter(list[Annotated[Any, part_validator(kind)]])


def combine_errors(errors: Iterable[tuple[KeyPath, str]]) -> ValidationError:
    """Return the exception that a validator raises for errors at several keys."""
    details = [
        InitErrorDetails(type=config_error(message), loc=key, input=None) for key, message in errors
    ]
    return ValidationError.from_exception_data("config", details)


def as_list(parts: PartConfig | list[PartConfig]) -> list[PartConfig]:
    """Return the parts of a key that may have one part or several."""
    return parts if isinstance(parts, list) else [parts]
