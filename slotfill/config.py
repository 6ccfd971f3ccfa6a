"""Config: YAML and overrides, checked as a whole before anything heavy is imported.

Every fault is found in one go, each with `file:line: key: what is wrong; did you mean ...?`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from slotfill.errors import ConfigError, did_you_mean
from slotfill.options import Count, Fraction, NonNegative, Positive, Size
from slotfill.registry import EMBEDDINGS, ENCODERS, FORMATS, KINDS, REQUIRED, TAGGERS, PartFile, Registry
from slotfill.schemes import SCHEMES
from slotfill.text import TOKENIZERS
from slotfill.yaml_text import Path as KeyPath
from slotfill.yaml_text import dotted, dump, parse

FORMAT = 1
"""The version of config files and run folders; one of another version is refused."""

Part = dict[str, Any]
SchemeName = Literal[tuple(SCHEMES)]  # type: ignore[valid-type]
TokenizerName = Literal[tuple(TOKENIZERS)]  # type: ignore[valid-type]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class DataConfig(_Checked):
    """Where the sentences are and how they are written."""

    path: str | None = None
    """A folder with a file (or folder) for each split, or one file to train on."""
    train: str | None = None
    """The sentences to learn from, if not in `path`."""
    valid: str | None = None
    """The sentences to pick the best epoch on; without any, `holdout` of the training sentences."""
    test: str | None = None
    """The sentences to score the result on; without any, it is not."""
    format: Any = "auto"
    """How the files are written; `auto` guesses from the path."""
    scheme: SchemeName = "iob2"  # type: ignore[valid-type]
    """The tag scheme of the files, where they hold tags."""
    tokenizer: TokenizerName = "words"  # type: ignore[valid-type]
    """How text that is not yet tokens is cut: in the files, and in `predict`."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share of the training sentences kept for `valid` where there is no such split."""


class TrainConfig(_Checked):
    """How the weights are found."""

    seed: Count = 1
    """Decides every draw: weights, order, dropout."""
    epochs: Size = 40
    """At most so many times over the training sentences."""
    patience: Count = 10
    """Stop after so many epochs without a better valid F1; 0 never stops."""
    batch_size: Size = 16
    """Sentences a step."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    """Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019."""
    learning_rate: Positive = 2e-3
    """The highest rate, which the schedule starts from after the warm-up."""
    momentum: Fraction = 0.9
    """Of sgd; the others have their own."""
    weight_decay: NonNegative = 0.0
    """How much weights shrink a step."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the rate falls, to zero at `epochs`."""
    warmup: NonNegative = 1.0
    """Epochs over which the rate rises from zero."""
    gradient_clip: NonNegative = 5.0
    """The longest that the gradient may be; 0 for any. An LSTM cures vanishing gradients, not exploding ones:
    its memory is a sum, but its gates still multiply, so it needs this as much as an Elman network does."""
    average: Fraction = 0.998
    """Decay of the moving average of the weights, which is what is scored and kept; 0 keeps the weights."""


class Config(_Checked):
    """A whole run: data, network, training. Every default is in it."""

    format: Literal[1] = 1
    """The version of this file's keys."""
    data: DataConfig = DataConfig()
    scheme: SchemeName = "iob2"  # type: ignore[valid-type]
    """The tag scheme that the model learns, whatever the files have."""
    embedding: Any = ["word", "char_cnn"]
    """One embedding or a list, whose vectors are joined."""
    encoder: Any = "recurrent"
    """What reads the sentence."""
    tagger: Any = "crf"
    """What chooses the tags."""
    train: TrainConfig = TrainConfig()

    def to_yaml(self) -> str:
        """Return the complete config as YAML."""
        return dump(self.model_dump())


def load_config(text: str, name: str, overrides: Sequence[str] = (), folder: Path | None = None) -> Config:
    """Return the checked, complete config of YAML `text` with `overrides` such as `encoder.hidden_size=200`.

    `name` stands in messages, and relative paths are taken from `folder`, or where nothing is there from the
    current folder. Raises ConfigError that lists every fault.
    """
    data, lines = parse(text, name)
    return _Check(data, lines, name, overrides, folder).config()


class _Check:
    """One check of one config: the data, where each key stands, and the faults found so far."""

    def __init__(
        self, data: Any, lines: dict[KeyPath, int], name: str, overrides: Sequence[str], folder: Path | None
    ) -> None:
        self.lines = lines
        self.name = name
        self.folder = folder
        self.overridden: set[KeyPath] = set()
        self.faults: dict[str, int] = {}
        if not isinstance(data, dict):
            raise ConfigError(f"{name}:1: a config is keys and values, found {_shown(data)}")
        self.data: dict[str, Any] = data
        for override in overrides:
            self._override(override)

    def config(self) -> Config:
        data = dict(self.data)
        sections = {"embedding": EMBEDDINGS, "encoder": ENCODERS, "tagger": TAGGERS}
        for key, registry in sections.items():
            value = data.get(key, Config.model_fields[key].default)
            if key == "embedding":
                values = value if isinstance(value, list) else [value]
                if not values:
                    self._fault((key,), "at least one embedding is needed")
                single = not isinstance(value, list)
                data[key] = [self._part(registry, v, (key,) if single else (key, i)) for i, v in enumerate(values)]
            else:
                data[key] = self._part(registry, value, (key,))
        if isinstance(data.get("data"), dict):
            data["data"] = section = dict(data["data"])
            if section.get("format", "auto") != "auto":
                section["format"] = self._part(FORMATS, section["format"], ("data", "format"))
        config = self._validate(Config, data, ())
        if self.faults:
            raise ConfigError([fault for fault, _ in sorted(self.faults.items(), key=lambda item: item[1])])
        self._resolve_paths(config.data)
        return config

    def _part(self, registry: Registry, value: Any, path: KeyPath) -> Part:
        """Return the part complete with its defaults, having noted every fault in it."""
        options = {"name": value} if isinstance(value, str) else value
        if not isinstance(options, dict) or not isinstance(options.get("name"), str):
            self._fault(
                path, f"must be the name of a part, or keys with a 'name'{did_you_mean('', registry.names())}, "
                f"found {_shown(value)}"
            )  # fmt: skip
            return {}
        options = dict(options)
        name = options["name"]
        if name.endswith(".py"):
            name = options["name"] = str(self._found(name) or name)
        try:
            part = registry.part(name)
            for option in part.options.values():
                if option.part:
                    inner = options.get(option.name, option.default)
                    options[option.name] = self._part(KINDS[option.part], inner, (*path, option.name))
        except ConfigError as fault:
            self._fault((*path, "name") if isinstance(value, dict) else path, str(fault))
            return {}
        checked = self._validate(part_model(part), options, path)
        return checked.model_dump() if checked is not None else {}

    def _validate(self, model: type[Any], data: Any, path: KeyPath) -> Any:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for fault in error.errors():
                here = (*path, *fault["loc"])
                self._fault(here, _message(fault, _fields_at(model, fault["loc"])))
            return None

    def _fault(self, path: KeyPath, message: str) -> None:
        known = path
        while known and known not in self.lines and known not in self.overridden:
            known = known[:-1]
        key = dotted(path)
        if known in self.overridden:
            self.faults.setdefault(f"command line: {key}: {message}", 10**9)
            return
        line = self.lines.get(known, 1)
        self.faults.setdefault(
            f"{self.name}:{line}: {key}: {message}" if key else f"{self.name}:{line}: {message}", line
        )

    def _override(self, override: str) -> None:
        """Put one `key.path=value` into the data; the value is read as YAML."""
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"command line: '{override}': an override is written key=value, as encoder.hidden_size=200"
            )
        value, _ = parse(text, f"command line: {key}")
        value = None if value == {} and not text.strip() else value
        path: KeyPath = tuple(int(step) if step.isdigit() else step for step in key.strip().split("."))
        target: Any = self.data
        for depth, step in enumerate(path[:-1]):
            target = _into(target, step, path[: depth + 1], override)
        if isinstance(target, list):
            _index(target, path[-1], override)
        target[path[-1]] = value
        self.overridden = {old for old in self.overridden if old[: len(path)] != path} | {path}
        for line in [old for old in self.lines if old[: len(path)] == path]:
            del self.lines[line]

    def _found(self, path: str) -> Path | None:
        """Return the file or folder that a relative `path` means, if there is one."""
        bases = [Path.cwd()] if self.folder is None else [self.folder, Path.cwd()]
        return next((whole.resolve() for base in bases if (whole := base / path).exists()), None)

    def _resolve_paths(self, data: DataConfig) -> None:
        """Make the paths absolute, so that the run finds its data from wherever it is evaluated."""
        for key in ("path", "train", "valid", "test"):
            path = getattr(data, key)
            if path is not None:
                found = Path(path).resolve() if ("data", key) in self.overridden else self._found(path)
                setattr(data, key, str(found or Path(path)))


def _into(target: Any, step: str | int, path: KeyPath, override: str) -> Any:
    """Return what stands at `step` in `target`, made to hold keys if it holds none yet."""
    if isinstance(target, list):
        _index(target, step, override)
        value = target[step]  # type: ignore[index]
    else:
        value = target.get(step)
    if isinstance(value, str):
        value = {"name": value}
    elif value is None:
        default = Config.model_fields[str(step)].default if len(path) == 1 and step in Config.model_fields else None
        value = {"name": default} if isinstance(default, str) else {}
    elif not isinstance(value, dict | list):
        raise ConfigError(f"command line: '{override}': {dotted(path)} is {_shown(value)} and has no keys of its own")
    target[step] = value
    return value


def _index(target: list[Any], step: str | int, override: str) -> None:
    if not isinstance(step, int) or step >= len(target):
        raise ConfigError(
            f"command line: '{override}': '{step}' must be the place in a list of {len(target)}, counted from 0"
        )


def part_model(part: PartFile) -> type[BaseModel]:
    """Return the pydantic model of a part's options, read from its file."""
    fields: dict[str, Any] = {"name": (str, ...)}
    for option in part.options.values():
        kind = Any if option.part else option.type
        fields[option.name] = (kind, ... if option.default is REQUIRED else option.default)
    return create_model(part.class_node.name, __base__=_Checked, **fields)


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys allowed beside the last of `location`."""
    for step in location[:-1]:
        annotation = model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _message(fault: Any, fields: list[str]) -> str:
    """Say in one line what pydantic found."""
    kind, found, context = fault["type"], _shown(fault["input"]), fault.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(str(fault["loc"][-1]), fields)
    if kind == "missing":
        return "is needed and not given"
    if kind == "literal_error":
        if fault["loc"][-1] == "format" and isinstance(fault["input"], int):
            return f"this config is of format {found}, and this version of slotfill reads format {FORMAT}"
        allowed = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
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
        "less_than_equal": lambda: f"must be at most {context['le']:g}",
        "finite_number": lambda: "must be a finite number",
    }.get(kind, lambda: str(fault["msg"]).lower())
    return f"{expected()}, found {found}"


def _shown(value: Any) -> str:
    """A value as the message shows it: as YAML writes it, not too long."""
    if isinstance(value, dict | BaseModel):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    shown = f"'{value}'" if isinstance(value, str) else str(value).lower()
    return shown if len(shown) <= 60 else shown[:57] + "...'"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a config, with every registered part and its options."""
    whole = Config.model_json_schema()
    definitions = whole.setdefault("$defs", {})
    for registry in KINDS.values():
        kinds: list[dict[str, Any]] = [{"enum": registry.names()}, {"type": "string", "pattern": r"\.py$"}]
        for name in registry.names():
            part = registry.part(name)
            model = part_model(part).model_json_schema()
            definitions.update(model.pop("$defs", {}))
            model["properties"]["name"] = {"const": name}
            model["description"] = part.summary
            for option in part.options.values():
                if option.part:
                    model["properties"][option.name] = {"$ref": f"#/$defs/{option.part}"}
            kinds.append(model)
        definitions[registry.kind] = {"anyOf": kinds}
    keys = whole["properties"]
    for key in ("encoder", "tagger"):
        keys[key] |= {"$ref": f"#/$defs/{key}"}
    one = {"$ref": "#/$defs/embedding"}
    keys["embedding"] |= {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    definitions["DataConfig"]["properties"]["format"] |= {"anyOf": [{"const": "auto"}, {"$ref": "#/$defs/format"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def walk(data: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield each leaf of nested `data` with its path."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from walk(value, (*path, key))
        else:
            yield (*path, key), value
