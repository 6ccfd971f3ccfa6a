"""Config: data, network and training of a run; every key with its type, default and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from slotfill.config.messages import KeyPath, Locations, format_value
from slotfill.config.option_types import (
    Depth,
    Probability,
    SchemeName,
    config_error,
)
from slotfill.config.part_config import (
    Part,
    PartConfig,
    StrictModel,
    as_list,
    combine_errors,
    part_validator,
)
from slotfill.config.sections import (
    DataConfig,
    DistilConfig,
    Range,
    ResolveConfig,
    RuleConfig,
    Synonyms,
    TrainConfig,
)
from slotfill.config.yaml_reader import dump
from slotfill.errors import ConfigError, ErrorDetail

DEFAULT_EMBEDDING = ("word", "char_cnn", "ngrams")
"""Where `embedding` is null; `data.static_table` has what is added to it."""

PART_KEYS = ("embedding", "encoder", "tagger", "intent", "generator")
"""The keys whose values are parts of the kind of that name."""

TAGGER_KEYS = (
    *("embedding", "encoder", "tagger", "intent", "ensemble_size"),
    *("threshold", "thresholds", "intent_threshold", "rules", "synonyms", "resolve", "distil"),
)
"""The keys of a tagger, which a config with a generator does not have."""

STACKABLE_PART_KEYS = ("embedding", "encoder", "train.log")
"""The keys of parts whose value may be a list of parts."""


def _check_version(version: Any) -> Any:
    """Refuse `true` and `1.0`, which Python holds for equal to 1."""
    if type(version) is not int:
        raise config_error(f"must be an integer, found {format_value(version)}")
    return version


class Config(StrictModel):
    """The complete description of a run, with every default."""

    version: Annotated[Literal[1], BeforeValidator(_check_version)] = 1
    """Version of the config keys."""
    data: DataConfig = Field({}, validate_default=True)
    scheme: SchemeName = "iob2"
    """The tag scheme that the model predicts, whatever the scheme of the files is."""
    embedding: (
        Annotated[list[Part], part_validator("embedding", stackable=True), AfterValidator(as_list)]
        | None
    ) = None
    """One embedding, or a list of embeddings whose vectors are concatenated.

    null: `[word, char_cnn, ngrams]`, and `static` where the training sentences are few and English.
    """
    encoder: Annotated[
        Part | list[Part], part_validator("encoder", "recurrent", stackable=True)
    ] = Field("recurrent", validate_default=True)
    """One encoder, or a list of encoders, each of which reads the output of the one before."""
    tagger: Annotated[Part, part_validator("tagger", "crf")] = Field("crf", validate_default=True)
    """The output layer, which predicts the tags."""
    intent: Annotated[Part, part_validator("intent")] | None = None
    """The intent classifier; null: intents are not learned."""
    generator: Annotated[Part, part_validator("generator", "recurrent")] | None = None
    """Instead of the network above, a language model of labelled sentences, for `generate`."""
    ensemble_size: Depth = 1
    """Networks that are trained together and whose scores are averaged."""
    threshold: Probability = 0.0
    """The confidence below which a predicted slot is left out."""
    thresholds: dict[str, Probability] = Field({})
    """The same for the slots of a name, such as `{city: 0.7}`, instead of `threshold`."""
    intent_threshold: Probability = 0.0
    """The confidence below which the intent is left out."""
    train: TrainConfig = TrainConfig()
    distil: DistilConfig = Field({}, validate_default=True)
    rules: list[RuleConfig] = Field([])
    """Regular expressions and lists that fill or veto slots after decoding; the first counts."""
    synonyms: dict[str, Synonyms] = Field({})
    """For a slot, what its values stand for: `{Taipei: [TPE, Taipei City]}`, or a CSV file.

    A line of the file is `Taipei,TPE,Taipei City`."""
    resolve: ResolveConfig = Field({}, validate_default=True)
    tune: dict[str, Range | Annotated[list[Any], Field(min_length=2)]] = Field({}, exclude=True)
    """The search space of `slotfill tune`: for a key with dots, a range or a list of values.

    Other commands ignore it, and saved configs omit it.
    """

    @model_validator(mode="after")
    def _has_one_source_of_labels(self) -> Config:
        """Check that in distillation the teachers alone label other sentences."""
        for key in ("from_run", "text") if self.distil.teachers else ():
            if getattr(self.train, key):
                hint = "; set distil.text, which teachers label" if key == "text" else ""
                message = f"does not go with distil.teachers{hint}"
                raise combine_errors([(("train", key), message)])
        return self

    @model_validator(mode="after")
    def _generates_or_tags(self) -> Config:
        """Check that a generator has no keys of taggers, and hold sentences out for it."""
        if self.generator is None:
            return self
        if self.train.from_run is not None:
            message = "does not continue a run; leave out --from and train.from_run"
            raise combine_errors([(("generator",), message)])
        keys: list[KeyPath] = [(key,) for key in TAGGER_KEYS if key in self.model_fields_set]
        for key in ("text", "focal_gamma", "language_model_weight"):
            if getattr(self.train, key):
                keys.append(("train", key))
        if keys:
            message = "does not apply to a generator; remove this key or generator"
            raise combine_errors([(key, message) for key in keys])
        if self.data.holdout is None:
            # The perplexity of few sentences selects an epoch well enough.
            self.data = self.data.model_copy(update={"holdout": 0.1})
        return self

    @model_validator(mode="after")
    def _streams(self) -> Config:
        """Check that nothing needs the training sentences in memory where they are streamed."""
        needing: dict[KeyPath, Any] = {
            ("train", "from_run"): self.train.from_run,
            ("train", "text"): self.train.text,
            ("train", "repeat_threshold"): self.train.repeat_threshold,
            ("distil", "teachers"): self.distil.teachers,
        }
        if self.data.streaming and (keys := [key for key, value in needing.items() if value]):
            message = "needs the training sentences in memory; set data.streaming to false"
            raise combine_errors([(key, message) for key in keys])
        return self

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the keys of a tagger, or those of a generator."""
        values: dict[str, Any] = serialize(self)
        left_out = ("generator",) if self.generator is None else TAGGER_KEYS
        return {key: value for key, value in values.items() if key not in left_out}

    _locations: Locations = PrivateAttr(default_factory=Locations)

    @property
    def encoders(self) -> list[PartConfig]:
        """The encoders, also if there is only one."""
        return as_list(self.encoder)

    def to_yaml(self) -> str:
        """Return the complete config as YAML."""
        return dump(self.model_dump())

    def check_tagger(self) -> None:
        """Raise ConfigError if it has a generator."""
        if self.generator is not None:
            problem = "only the commands train, evaluate and generate take one"
            raise ConfigError(self._locations.sort([ErrorDetail(problem, "generator")]))

    @property
    def external_files(self) -> list[str]:
        """The files of the user's that the trained network depends on: all parts but loggers."""
        data = self.model_dump()
        del data["train"]["log"]
        tokenizer = self.data.tokenizer
        files = [*external_part_files(data), *([tokenizer] if tokenizer.endswith(".py") else [])]
        return list(dict.fromkeys(files))

    @contextmanager
    def locate_errors(self) -> Iterator[None]:
        """Add to a ConfigError of the `with` block the location of each key that it names."""
        try:
            yield
        except ConfigError as error:
            raise ConfigError(self._locations.sort(error.errors)) from None


NETWORK_KEYS = (
    *("scheme", "embedding", "encoder", "tagger", "intent", "ensemble_size", "generator"),
    *("data.tokenizer", "data.normalization"),
)
"""The keys that a run which continues another has in common with it."""

SECTIONS = ("data", "train", "distil", "resolve")
"""The keys of a config that contain keys, and are no parts."""


def external_part_files(data: Any) -> Iterator[str]:
    """Yield the files of user-defined parts that dumped config `data` names."""
    if isinstance(data, dict):
        if str(data.get("name")).endswith(".py"):
            yield data["name"]
        data = list(data.values())
    if isinstance(data, list):
        for value in data:
            yield from external_part_files(value)
